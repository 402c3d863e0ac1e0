import { identifier } from '../identifiers.ts';

/** Somebody who may come in through a door, by an entry of MEMORY_API_KEYS. */
export interface ApiKey {
  name: string;
  /** The one user this key is bound to; null for a service, which may see everything. */
  userId: string | null;
  secret: string;
}

const ENTRY = /^([\w-]{1,64})(?:@([^:@\s]+))?:([\x21-\x7e]{16,})$/;

/**
 * Entries such as `name:secret` or `name@user:secret`, separated by commas, with the user's id percent-encoded. Null when an
 * entry is something else. A name may stand there twice, so that an old and a new secret hold at once. A secret may not,
 * because the secret alone says who is asking.
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
