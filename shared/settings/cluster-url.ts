/** Where a Redis Cluster is, and how to log in. */
export interface ClusterAddress {
  /** Any of its nodes: the first that answers tells of all others, so one that is away does no harm. */
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
 * Takes `redis+cluster://[user:password@]host[:port][,host[:port]]…` apart, `rediss+cluster://` for TLS; null for anything
 * else, a database number too: a cluster has one. Not by `URL` alone, which knows one host only.
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

/** Null when a `%` begins no UTF-8 character. */
function decodeLogin({ username, password }: URL): Pick<ClusterAddress, 'username' | 'password'> | null {
  try {
    return { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    return null;
  }
}
