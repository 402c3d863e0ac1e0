/**
 * **shared/redis/**: what any program would ask of Redis: connections, nodes, memory, answers within a time, entries of
 * streams. It knows no key of ours.
 */
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { MnemoqError, messageOf } from '../errors.ts';
import { isClusterUrl, parseClusterUrl } from '../settings/cluster-url.ts';
import type { Logger } from '../telemetry/log.ts';

export type RedisClient = Redis | Cluster;

/** How long a client waits for Redis before it gives its caller an error, and before it takes a connection for dead. */
type Patience = Pick<RedisOptions, 'maxRetriesPerRequest' | 'commandTimeout' | 'connectTimeout' | 'socketTimeout'>;

/** The longest pause between attempts to reconnect. A worker is back within this time after an outage of any length. */
const RECONNECT_CAP_MS = 2_000;

/** The pause between two tries of a command that a cluster cannot take now. */
const CLUSTER_RETRY_MS = 100;
/** Two nodes that do not agree yet where a slot is send a command to and fro. This keeps them from doing it at full speed. */
const MOVED_RETRY_MS = 10;

/**
 * A worker's connection on which an answer is due is dropped and made anew when nothing comes for this long. Otherwise the
 * kernel alone would notice, after a quarter of an hour, that the other end has vanished without a word. The time is longer
 * than BullMQ's longest blocking call of 10 s, which is silent all the while.
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
 * A command that meets a dead node, a cluster that is down or a slot that is being moved is tried again every
 * CLUSTER_RETRY_MS: for a worker until it is through, for a producer for about as long as its caller waits.
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
    // Names are left for the connection to resolve, as ioredis advises for TLS, whose certificates carry names. If the
    // cluster client resolved them, one name that cannot be resolved would keep it from connecting through the others.
    dnsLookup: (host, found) => found(null, host),
    redisOptions: {
      ...options,
      ...(username && { username }),
      ...(password && { password }),
      ...(tls && { tls: {} }),
    },
  });
}

/** Never fewer than the 16 that ioredis has by itself: a slot that moves costs several, and quickly. */
function redirections(timeoutMs: number | undefined): number {
  return timeoutMs === undefined ? Infinity : Math.max(16, Math.ceil(timeoutMs / CLUSTER_RETRY_MS));
}

/** Writes one line when Redis goes away and one when it is back, not one for each attempt. */
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
