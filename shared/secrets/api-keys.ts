import { identifier } from '../identifiers.ts';

/** Who may come in through a door, as MEMORY_API_KEYS has it. */
export interface ApiKey {
  name: string;
  /** The one user this key is bound to; null for a service, which may see everything. */
  userId: string | null;
  secret: string;
}

const ENTRY = /^([\w-]{1,64})(?:@([^:@\s]+))?:([\x21-\x7e]{16,})$/;

/**
 * `name:secret` or `name@user:secret`, the user's id percent-encoded, separated by commas; null when an entry is something
 * else. Names may repeat, so that an old and a new secret hold at once; a secret may not, for it alone says who is asking.
 */
export function parseApiKeys(value: string): ApiKey[] | null {
  const keys = value.split(',').map((entry) => parseApiKey(entry.trim()));
  const found = keys.filter((key) => key !== null);
  const distinct = new Set(found.map(({ secret }) => secret)).size;
  return distinct === keys.length ? found : null;
}

function parseApiKey(entry: string): ApiKey | null {
  const [, name, user, secret] = ENTRY.exec(entry) ?? [];
  if (name === undefined || secret === undefined) return null;
  if (user === undefined) return { name, userId: null, secret };
  const userId = identifier.safeParse(decoded(user));
  return userId.success ? { name, userId: userId.data, secret } : null;
}

function decoded(value: string): string | null {
  try {
    return decodeURIComponent(value);
  } catch {
    return null;
  }
}
