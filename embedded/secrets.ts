import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'dotenv';
import type { SupabaseKeys } from './supabase.ts';

/** Gives the secrets of the embedded parts. They are made once and kept in the data folder, where only its owner can read them. */
export interface Secrets extends SupabaseKeys {
  encryptionKeys: string;
  signingKey: string;
  apiKeys: string;
}

const FILE = 'secrets.env';

export function loadSecrets(dataDir: string): Secrets {
  const file = path.join(dataDir, FILE);
  if (!existsSync(file)) {
    mkdirSync(dataDir, { recursive: true });
    const fresh = Object.entries(create()).map(([name, value]) => `${name}="${value}"`);
    writeFileSync(file, `${fresh.join('\n')}\n`, { mode: 0o600 });
  }
  return parse(readFileSync(file)) as unknown as Secrets;
}

function create(): Secrets {
  const random = (encoding: 'base64' | 'base64url' | 'hex') => randomBytes(32).toString(encoding);
  return {
    secretKey: `sb_secret_${random('hex')}`,
    publishableKey: `sb_publishable_${random('hex')}`,
    jwtSecret: random('hex'),
    encryptionKeys: `k1:${random('base64')}`,
    signingKey: random('base64'),
    apiKeys: `local:${random('base64url')}`,
  };
}
