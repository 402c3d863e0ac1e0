import type { Config } from '../../../../shared/settings/variables.ts';
import { messageOf } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/telemetry/log.ts';
import { connectProducerRedis, type RedisClient } from '../../../../shared/redis/connection.ts';
import { evictionPolicy } from '../../../../shared/redis/memory.ts';
import { mastersOf } from '../../../../shared/redis/nodes.ts';
import { withinTime } from '../../../../shared/redis/within-time.ts';
import { type Finding, type Mends, mendFor } from './finding.ts';

/** Redis 6.2 is the first version with XAUTOCLAIM and GETDEL. */
const OLDEST_REDIS = [6, 2] as const;

const REDIS_MENDS: Mends = [
  [
    /NOAUTH|WRONGPASS/,
    'put its password into REDIS_URL: redis://:password@host:6379 or redis://user:password@host:6379',
  ],
  [/./, 'start it, or correct REDIS_URL'],
];

export async function examineRedis({ redisUrl, redisTimeoutMs }: Config): Promise<Finding[]> {
  if (redisUrl === undefined) return [];
  const redis = connectProducerRedis(redisUrl, createLogger('silent', 'doctor'), redisTimeoutMs);
  let refusal: Error | null = null;
  redis.on('error', (error) => (refusal = error)); // it says more than the error of a command that gave up waiting
  try {
    const ask = <T>(work: Promise<T>) => withinTime(work, redisTimeoutMs, 'asking');
    const about = await ask(askEveryMaster(redis)).catch((error) => {
      throw refusal ?? error;
    });
    const version = oldest(about.map((info) => /redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown'));
    const policy = await ask(evictionPolicy(redis));
    const appendOnly = about.every((info) => /aof_enabled:1/.test(info));
    return [
      {
        name: 'Redis',
        ok: isRecent(version),
        detail: `version ${version}`,
        mend: 'upgrade to Redis 6.2 or newer, or Valkey',
      },
      {
        name: 'Redis eviction',
        ok: policy === null || policy === 'noeviction',
        detail: policy ?? 'not told by this server',
        mend: 'redis-cli config set maxmemory-policy noeviction, and in redis.conf: anything else may lose pending records',
      },
      {
        name: 'Redis AOF',
        ok: appendOnly,
        detail: appendOnly ? 'on' : 'off',
        mend: 'redis-cli config set appendonly yes, and in redis.conf: without it a restart loses what is not flushed',
      },
    ];
  } catch (error) {
    const found = messageOf(error);
    return [{ name: 'Redis', ok: false, detail: found, mend: mendFor(found, REDIS_MENDS) }];
  } finally {
    redis.disconnect();
  }
}

/** Asks each node that takes writes about itself and about its append-only file. */
async function askEveryMaster(redis: RedisClient): Promise<string[]> {
  const masters = await mastersOf(redis);
  // There is one section in each command, because Redis 6.2 takes no more.
  return Promise.all(masters.map(async (node) => `${await node.info('server')}${await node.info('persistence')}`));
}

function oldest(versions: readonly string[]): string {
  return versions.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))[0] ?? 'unknown';
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_REDIS;
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}
