/**
 * **embedded/**: Redis, Supabase and IPFS for a machine that has none of them. Production never loads anything from here.
 */
import path from 'node:path';
import type { EmbeddedIpfs } from './ipfs.ts';
import { takeLock } from './lock.ts';
import { type EmbeddedRedis, type EmbeddedRedisOptions, startRedis } from './redis.ts';
import { loadSecrets } from './secrets.ts';
import { type EmbeddedSupabase, startSupabase } from './supabase.ts';

export interface EmbeddedParts {
  redis: EmbeddedRedis;
  supabase: EmbeddedSupabase;
  ipfs: EmbeddedIpfs;
  /** The environment variables with which workers, producers and commands find these parts. */
  environment: Record<string, string>;
  stop(): Promise<void>;
}

/** Starts Redis, Supabase and IPFS on free ports of loopback. Everything that they store is in `dataDir`. */
export async function startEmbeddedParts(dataDir: string, redisOptions?: EmbeddedRedisOptions): Promise<EmbeddedParts> {
  const { startIpfs } = await import('./ipfs.ts'); // not at the top, because it imports packages that may not be installed
  const dir = path.resolve(dataDir);
  const unlock = await takeLock(path.join(dir, 'lock'));
  const secrets = loadSecrets(dir);
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    await Promise.all(started.map((part) => part.stop()));
    unlock();
  };
  const keep = async <P extends { stop(): Promise<void> }>(starting: Promise<P>): Promise<P> => {
    const part = await starting;
    started.push(part);
    return part;
  };
  const starting = [
    keep(startRedis(path.join(dir, 'redis'), redisOptions)),
    keep(startSupabase(path.join(dir, 'supabase'), secrets)),
    keep(startIpfs(path.join(dir, 'ipfs'))),
  ] as const;
  try {
    const [redis, supabase, ipfs] = await Promise.all(starting);
    const environment = {
      REDIS_URL: redis.url,
      SUPABASE_URL: supabase.url,
      SUPABASE_SERVICE_ROLE_KEY: secrets.secretKey,
      IPFS_API_URL: ipfs.url,
      MEMORY_ENCRYPTION_KEYS: secrets.encryptionKeys,
      MEMORY_SIGNING_KEY: secrets.signingKey,
      MEMORY_API_KEYS: secrets.apiKeys,
      SUPABASE_JWT_SECRET: secrets.jwtSecret,
      MNEMOQ_DATA_DIR: dir,
    };
    return { redis, supabase, ipfs, environment, stop };
  } catch (error) {
    await Promise.allSettled(starting);
    await stop();
    throw error;
  }
}
