import { isClusterUrl, parseClusterUrl } from './cluster-url.ts';

/** An http:// or https:// URL to which a path can be added. */
export function isWebUrl(value: string): boolean {
  const url = parseUrl(value, ['http:', 'https:']);
  return url !== null && url.search + url.hash === '';
}

/** A URL to which something is posted: fetch takes none with a name and a password. */
export function isWebhookUrl(value: string): boolean {
  const url = parseUrl(value, ['http:', 'https:']);
  return url !== null && url.username + url.password + url.hash === '';
}

/** ioredis takes whatever else is in a URL for a database or for options, and fails when it is first used. */
export function isRedisUrl(value: string): boolean {
  if (isClusterUrl(value)) return parseClusterUrl(value) !== null;
  const url = parseUrl(value, ['redis:', 'rediss:']);
  if (!url) return false;
  const { port, pathname, search, hash, username, password } = url;
  const readable = /^\/?\d{0,5}$/.test(pathname) && /^(\?family=[046])?$/.test(search) && hash === '';
  return readable && port !== '0' && isPercentEncoded(username + password);
}

/** Origins as browsers send them, separated by commas: scheme, host and port, and nothing behind. Null for anything else. */
export function parseOrigins(value: string): string[] | null {
  const origins = value.split(',').map((entry) => entry.trim());
  const isOrigin = (entry: string) => parseUrl(entry, ['http:', 'https:'])?.origin === entry;
  return origins.every(isOrigin) ? origins : null;
}

function parseUrl(value: string, protocols: readonly string[]): URL | null {
  // `URL` ignores some white space, and other programs that read the same address do not.
  const url = /\s/.test(value) ? null : URL.parse(value);
  return url && protocols.includes(url.protocol) && url.hostname !== '' ? url : null;
}

function isPercentEncoded(value: string): boolean {
  try {
    return decodeURIComponent(value) !== null;
  } catch {
    return false;
  }
}
