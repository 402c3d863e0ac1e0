import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { isClusterUrl, parseClusterUrl } from '../settings/cluster-url.ts';
import { MnemoqError, messageOf } from '../errors.ts';
import type { Logger } from '../telemetry/log.ts';

export type RedisClient = Redis | Cluster;

/** How long a client waits for Redis before it gives its caller an error, and before it takes a connection for dead. */
type Patience = Pick<RedisOptions, 'maxRetriesPerRequest' | 'commandTimeout' | 'connectTimeout' | 'socketTimeout'>;

/** Longest pause between attempts to reconnect; a worker is back within this after an outage of any length. */
const RECONNECT_CAP_MS = 2_000;

/** Between two tries of a command that a cluster cannot take now. */
const CLUSTER_RETRY_MS = 100;
/** Two nodes that do not agree yet where a slot is send a command to and fro: not as fast as they can. */
const MOVED_RETRY_MS = 10;

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

function connect(url: string, logger: Logger, options: Patience): RedisClient {
  const retryStrategy = (attempt: number) => Math.min(RECONNECT_CAP_MS, 50 * 2 ** Math.min(attempt, 10));
  const client = isClusterUrl(url)
    ? connectCluster(url, options, retryStrategy)
    : new Redis(url, { ...options, retryStrategy });
  logOutages(client, logger);
  return client;
}

/**
 * A command that meets a dead node, a cluster that is down or a slot on its way is tried again every CLUSTER_RETRY_MS: for
 * a worker until it is through, for a producer for about as long as its caller waits.
 */
function connectCluster(url: string, options: Patience, retryStrategy: (attempt: number) => number): Cluster {
  const address = parseClusterUrl(url);
  if (!address) throw new MnemoqError('invalid_configuration', 'REDIS_URL: this is not the address of a Redis Cluster');
  const { nodes, username, password, tls } = address;
  return new Cluster(nodes, {
    clusterRetryStrategy: retryStrategy,
    maxRedirections: redirections(options.commandTimeout),
    retryDelayOnFailover: CLUSTER_RETRY_MS,
    retryDelayOnClusterDown: CLUSTER_RETRY_MS,
    retryDelayOnTryAgain: CLUSTER_RETRY_MS,
    retryDelayOnMoved: MOVED_RETRY_MS,
    // Left to the connection, as ioredis advises for TLS, whose certificates carry names. Asked by the cluster, one name
    // that cannot be resolved would keep it from connecting through the others.
    dnsLookup: (host, found) => found(null, host),
    redisOptions: {
      ...options,
      ...(username && { username }),
      ...(password && { password }),
      ...(tls && { tls: {} }),
    },
  });
}

/** ioredis's own 16 are the fewest: a slot that moves costs several, and quickly. */
function redirections(timeoutMs: number | undefined): number {
  return timeoutMs === undefined ? Infinity : Math.max(16, Math.ceil(timeoutMs / CLUSTER_RETRY_MS));
}

/** The nodes that take writes, each with its own memory and settings: a cluster's masters, or the one Redis. */
export async function mastersOf(redis: RedisClient): Promise<Redis[]> {
  if (redis instanceof Redis) return [redis];
  if (redis.status !== 'ready') await redis.ping(); // answered when the cluster has told of its nodes
  return redis.nodes('master');
}

/** The keys of a pattern, about `count` at a time; one that comes or goes meanwhile may be missing, some may come twice. */
export async function* scanKeys(redis: RedisClient, pattern: string, count: number): AsyncGenerator<string[]> {
  for (const master of await mastersOf(redis)) {
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

/** `maxmemory-policy`, of a cluster its least safe one; null when a server does not tell. */
export async function evictionPolicy(redis: RedisClient): Promise<string | null> {
  const policies = await Promise.all((await mastersOf(redis)).map(policyOf));
  const told = policies.filter((policy) => policy !== null);
  const unsafe = told.find((policy) => policy.startsWith('allkeys-')) ?? told.find((policy) => policy !== 'noeviction');
  if (unsafe !== undefined) return unsafe;
  return told.length === policies.length ? 'noeviction' : null;
}

async function policyOf(node: Redis): Promise<string | null> {
  const answer = await node.config('GET', 'maxmemory-policy').catch(() => []);
  return (answer as string[])[1] ?? null;
}
