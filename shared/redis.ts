import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { MnemoqError, messageOf } from './errors.ts';
import type { Logger } from './log.ts';

export type RedisClient = Redis | Cluster;

/** How long a client waits for Redis before it gives its caller an error, and before it takes a connection for dead. */
type Patience = Pick<RedisOptions, 'maxRetriesPerRequest' | 'commandTimeout' | 'connectTimeout' | 'socketTimeout'>;

/** Longest pause between attempts to reconnect; a worker is back within this after an outage of any length. */
const RECONNECT_CAP_MS = 2_000;

/**
 * A worker's connection on which an answer is due and nothing comes for this long is dropped and made anew. Without it a
 * connection whose other end vanished without a word is noticed by the kernel alone, after a quarter of an hour. Longer
 * than BullMQ's longest blocking call, 10 s, which is silent all the while.
 */
const WORKER_SOCKET_TIMEOUT_MS = 15_000;

/**
 * A connection for a process that may wait: a worker. Commands issued during an outage are sent when Redis is back.
 * `redis+cluster://` and `rediss+cluster://` connect to a Redis Cluster through any of its nodes.
 */
export function connectWorkerRedis(url: string, logger: Logger): RedisClient {
  return connect(url, logger, { maxRetriesPerRequest: null, socketTimeout: WORKER_SOCKET_TIMEOUT_MS });
}

/** A connection for a process that must answer its caller: commands fail after `timeoutMs` instead of waiting. */
export function connectProducerRedis(url: string, logger: Logger, timeoutMs: number): RedisClient {
  const timeouts = { commandTimeout: timeoutMs, connectTimeout: timeoutMs, socketTimeout: timeoutMs };
  return connect(url, logger, { maxRetriesPerRequest: 1, ...timeouts });
}

export function isClusterUrl(url: string): boolean {
  return new URL(url).protocol.endsWith('+cluster:');
}

function connect(url: string, logger: Logger, options: Patience): RedisClient {
  const retryStrategy = (attempt: number) => Math.min(RECONNECT_CAP_MS, 50 * 2 ** Math.min(attempt, 10));
  const client = isClusterUrl(url)
    ? connectCluster(new URL(url), options, retryStrategy)
    : new Redis(url, { ...options, retryStrategy });
  logOutages(client, logger);
  return client;
}

function connectCluster(url: URL, options: Patience, retryStrategy: (attempt: number) => number): Cluster {
  const { username, password, hostname, port, protocol } = url;
  return new Cluster([{ host: hostname, port: Number(port || 6379) }], {
    clusterRetryStrategy: retryStrategy,
    redisOptions: {
      ...options,
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss+cluster:' && { tls: {} }),
    },
  });
}

/** The nodes that take writes: a cluster's masters, or the one Redis. */
export function mastersOf(redis: RedisClient): Redis[] {
  return redis instanceof Cluster ? redis.nodes('master') : [redis];
}

/** The keys of a pattern, about `count` at a time; one that comes or goes meanwhile may be missing, some may come twice. */
export async function* scanKeys(redis: RedisClient, pattern: string, count: number): AsyncGenerator<string[]> {
  for (const master of mastersOf(redis)) {
    yield* master.scanStream({ match: pattern, count }) as AsyncIterable<string[]>;
  }
}

/** One line when Redis goes away and one when it is back, not one per attempt. */
function logOutages(client: RedisClient, logger: Logger): void {
  let away = false;
  client.on('error', (error: Error) => {
    if (!away) logger.warn({ reason: messageOf(error) }, 'redis is away; reconnecting');
    away = true;
  });
  client.on('ready', () => {
    if (away) logger.info('redis is back');
    away = false;
  });
}

/** Runs a command for a caller who must not wait for ever, and names what Redis's refusal means. */
export async function withinTime<T>(work: Promise<T>, timeoutMs: number, doing: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, deadline]);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw error; // ours, not Redis's
    throw classifyRedisError(error, doing);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined); // after a timeout nobody else listens to it
  }
}

/** `OOM` is Redis at maxmemory; anything else means it did not take the command. */
function classifyRedisError(error: unknown, doing: string): MnemoqError {
  if (error instanceof MnemoqError) return error;
  const reason = messageOf(error);
  return /\bOOM\b/.test(reason)
    ? new MnemoqError('redis_full', `${doing}: Redis is at its memory limit; nothing was stored`, { cause: error })
    : new MnemoqError('redis_unavailable', `${doing}: Redis did not accept it (${reason})`, { cause: error });
}

/**
 * Stops a process whose Redis may throw away pending records: with a memory limit and an `allkeys-*` policy it evicts any
 * key. Volatile policies only touch keys that expire, and nothing uncommitted does. Managed services may hide the setting.
 */
export async function refuseEvictingRedis(redis: RedisClient, logger: Logger): Promise<void> {
  const policy = await evictionPolicy(redis);
  if (policy?.startsWith('allkeys-')) {
    throw new MnemoqError(
      'invalid_configuration',
      `REDIS_URL: expected a Redis with maxmemory-policy noeviction, found ${policy}, which loses pending records: ` +
        'run `redis-cli config set maxmemory-policy noeviction` and set it in redis.conf',
    );
  }
  if (policy === null) logger.warn('this Redis does not tell its maxmemory-policy: make sure that it is noeviction');
}

/** `maxmemory-policy`; null when the server does not tell. */
export async function evictionPolicy(redis: RedisClient): Promise<string | null> {
  const answer = await redis.config('GET', 'maxmemory-policy').catch(() => []);
  return (answer as string[])[1] ?? null;
}
