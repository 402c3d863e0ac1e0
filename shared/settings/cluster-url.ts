/** Where a Redis Cluster is, and how to log in. */
export interface ClusterAddress {
  /** Some of its nodes. The first one that answers tells of all others, so one that is away does no harm. */
  nodes: { host: string; port: number }[];
  username: string;
  password: string;
  tls: boolean;
}

const DEFAULT_PORT = 6379;

export function isClusterUrl(url: string): boolean {
  return /^rediss?\+cluster:/.test(url);
}

/**
 * Takes `redis+cluster://[user:password@]host[:port][,host[:port]]…` apart; `rediss+cluster://` is for TLS. Null for anything
 * else. A database number is refused as well, because a cluster has only one. `URL` alone cannot do it, because it knows one
 * host only.
 */
export function parseClusterUrl(url: string): ClusterAddress | null {
  const [, tls, userInfo = '', hosts = ''] = /^redis(s?)\+cluster:\/\/([^/?#]*@)?([^@/?#]+)\/?$/.exec(url) ?? [];
  const parsed = hosts.split(',').map((host) => URL.parse(`redis://${userInfo}${host}`));
  const [first] = parsed;
  if (!first || parsed.some((each) => !each?.hostname)) return null;
  const login = decodeLogin(first);
  if (!login) return null;
  return {
    nodes: parsed
      .flatMap((each) => each ?? [])
      .map(({ hostname, port }) => ({
        host: hostname.replace(/^\[|\]$/g, ''), // an IPv6 address stands in brackets in a URL and nowhere else
        port: Number(port || DEFAULT_PORT),
      })),
    ...login,
    tls: tls === 's',
  };
}

/** Null when a `%` does not begin a UTF-8 character. */
function decodeLogin({ username, password }: URL): Pick<ClusterAddress, 'username' | 'password'> | null {
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    return null;
  }
}
