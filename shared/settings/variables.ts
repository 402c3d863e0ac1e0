import type { z } from 'zod';
import { ENCODINGS } from '../records/tokenizer.ts';
import { parseApiKeys } from '../secrets/api-keys.ts';
import { keyOf } from '../secrets/encryption.ts';
import { parseEncryptionKeys } from '../secrets/keyring.ts';
import { parsePublicKeys } from '../secrets/signing.ts';
import { isWebhookSecret } from '../secrets/webhook-secret.ts';
import { isRedisUrl, isWebhookUrl, isWebUrl, parseOrigins } from './addresses.ts';
import * as kind from './kinds.ts';

/** One variable of the environment. */
interface Variable<N extends string, T> extends kind.Kind<T> {
  name: N;
  /** A secret's value is never shown. */
  secret: boolean;
}

function variable<const N extends string, T>(name: N, { schema, expected }: kind.Kind<T>): Variable<N, T> {
  return { name, schema, expected, secret: false };
}

function secret<const N extends string, T>(name: N, { schema, expected }: kind.Kind<T>): Variable<N, T> {
  return { name, schema, expected, secret: true };
}

const DAY_MS = 86_400_000;
const TWO_DAYS_SECONDS = 172_800;
const MOST = 10_000_000;

const WEB_URL = 'an http:// or https:// URL';
const SENT_TO = kind.checked(isWebhookUrl, `${WEB_URL} without name and password`);
const SIGNED_WITH = kind.checked(
  isWebhookSecret,
  'whsec_ and base64 of 24 to 64 random bytes (echo "whsec_$(openssl rand -base64 32)")',
);

/**
 * Every variable that Mnemoq reads, by the setting it becomes, in the order of `.env.example`, which explains each of them.
 * A variable that is unset or empty takes its default; the last argument of a kind is the default.
 */
export const VARIABLES = {
  redisUrl: secret(
    'REDIS_URL',
    kind.checked(
      isRedisUrl,
      'a redis:// or rediss:// URL, after its host only a port and a database number ' +
        '(redis+cluster:// or rediss+cluster:// for a Redis Cluster, host:port,host:port,…)',
    ),
  ),
  supabaseUrl: variable('SUPABASE_URL', kind.checked(isWebUrl, WEB_URL)),
  supabaseServiceRoleKey: secret(
    'SUPABASE_SERVICE_ROLE_KEY',
    kind.checked(
      (value) => /^[\x21-\x7e]{16,}$/.test(value), // it goes into a header
      'the service role key, 16 characters or more of ASCII without spaces',
    ),
  ),
  ipfsApiUrl: variable('IPFS_API_URL', kind.checked(isWebUrl, `${WEB_URL} of a Kubo node's RPC`)),

  redisTtlSeconds: variable(
    'MEMORY_REDIS_TTL_SECONDS',
    kind.wholeNumber({ from: 1, to: 31_536_000, unit: 'seconds' }, TWO_DAYS_SECONDS),
  ),
  shortTermLimit: variable('MEMORY_SHORT_TERM_LIMIT', kind.wholeNumber({ from: 1, to: 10_000, unit: 'records' }, 100)),

  encoding: variable('MEMORY_ENCODING', kind.oneOf(ENCODINGS, 'cl100k_base')),
  textCache: variable('MEMORY_TEXT_CACHE', kind.oneOf(['encrypted', 'plain', 'off'], 'encrypted')),
  encryptTokens: variable('MEMORY_ENCRYPT_TOKENS', kind.flag()),
  allowPlainRows: variable('MEMORY_ALLOW_PLAIN_ROWS', kind.flag()),
  encryptionKeys: secret(
    'MEMORY_ENCRYPTION_KEYS',
    kind.parsed(
      parseEncryptionKeys,
      'kid:base64 of 32 random bytes, several separated by commas, the first one writes (openssl rand -base64 32)',
    ),
  ),
  signingKey: secret(
    'MEMORY_SIGNING_KEY',
    kind.parsed(keyOf, 'base64 of 32 random bytes, an Ed25519 seed (openssl rand -base64 32)'),
  ),
  retiredSigningKeys: secret(
    'MEMORY_RETIRED_SIGNING_KEYS', // not a secret, but somebody may have put the seed there
    kind.parsed(
      parsePublicKeys,
      'public Ed25519 keys, base64url of 32 bytes each, several separated by commas (mnemoq doctor shows the one in use)',
    ),
  ),

  writeMode: variable('MEMORY_WRITE_MODE', kind.oneOf(['batch', 'immediate'], 'batch')),
  flushStrategy: variable('MEMORY_FLUSH_STRATEGY', kind.oneOf(['interval', 'off-peak'], 'interval')),
  flushIntervalMs: variable(
    'MEMORY_FLUSH_INTERVAL_MS',
    kind.wholeNumber({ from: 1_000, to: DAY_MS, unit: 'ms' }, 300_000),
  ),
  flushOffPeakCron: variable('MEMORY_FLUSH_OFF_PEAK_CRON', kind.cron('0 3 * * *')),
  flushTz: variable('MEMORY_FLUSH_TZ', kind.timeZoneName('UTC')),
  flushBatchSize: variable('MEMORY_FLUSH_BATCH_SIZE', kind.wholeNumber({ from: 1, to: 1_000, unit: 'rows' }, 500)),
  flushMaxPending: variable(
    'MEMORY_FLUSH_MAX_PENDING',
    kind.wholeNumber({ from: 1, to: MOST, unit: 'records' }, 1_000),
  ),

  apiKeys: secret(
    'MEMORY_API_KEYS',
    kind.parsed(
      parseApiKeys,
      'name:secret or name@user:secret, several separated by commas, the user percent-encoded, each secret another one, ' +
        '16 characters or more of ASCII without spaces',
    ),
  ),
  supabaseJwtSecret: secret(
    'SUPABASE_JWT_SECRET',
    kind.checked((value) => value.length >= 32, "the secret that signs the project's tokens, 32 characters or more"),
  ),
  supabaseJwksUrl: variable(
    'SUPABASE_JWKS_URL',
    kind.checked(isWebUrl, `${WEB_URL} of the project's public keys, .../auth/v1/.well-known/jwks.json`),
  ),
  dataDir: variable('MNEMOQ_DATA_DIR', kind.anyText('.mnemoq', 'a folder')),
  memoriesTable: variable('MEMORY_MEMORIES_TABLE', kind.tableName('memories')),
  reflectionsTable: variable('MEMORY_REFLECTIONS_TABLE', kind.tableName('memory_reflections')),

  redisTimeoutMs: variable('MEMORY_REDIS_TIMEOUT_MS', kind.timeLimit(5_000)),
  redisMaxUsedPercent: variable('MEMORY_REDIS_MAX_USED_PERCENT', kind.wholeNumber({ from: 1, to: 100 }, 90)),
  supabaseTimeoutMs: variable('MEMORY_SUPABASE_TIMEOUT_MS', kind.timeLimit(20_000)),
  ipfsTimeoutMs: variable('MEMORY_IPFS_TIMEOUT_MS', kind.timeLimit(30_000)),
  shutdownTimeoutMs: variable('MEMORY_SHUTDOWN_TIMEOUT_MS', kind.timeLimit(25_000)),
  workerConcurrency: variable('MEMORY_WORKER_CONCURRENCY', kind.wholeNumber({ from: 1, to: 1_000 }, 50)),

  healthHost: variable('MEMORY_HEALTH_HOST', kind.host('127.0.0.1')),
  healthPort: variable('MEMORY_HEALTH_PORT', kind.port('switches it off', 0)),
  apiHost: variable('MEMORY_API_HOST', kind.host('127.0.0.1')),
  apiPort: variable('MEMORY_API_PORT', kind.port('takes a free one', 3000)),
  corsOrigins: variable(
    'MEMORY_CORS_ORIGINS',
    kind.parsed(parseOrigins, 'origins such as https://app.example.com, several separated by commas'),
  ),
  rateLimitPerMinute: variable(
    'MEMORY_RATE_LIMIT_PER_MINUTE',
    kind.wholeNumber({ from: 0, to: MOST, unit: 'requests', zero: 'is no limit' }, 6_000),
  ),
  mcpHost: variable('MEMORY_MCP_HOST', kind.host('127.0.0.1')),
  mcpPort: variable('MEMORY_MCP_PORT', kind.port('takes a free one', 3002)),
  dashboardHost: variable('MEMORY_DASHBOARD_HOST', kind.host('127.0.0.1')),
  dashboardPort: variable('MEMORY_DASHBOARD_PORT', kind.port('takes a free one', 3001)),
  dashboardReadOnly: variable('MEMORY_DASHBOARD_READ_ONLY', kind.flag()),
  dashboardShowText: variable('MEMORY_DASHBOARD_SHOW_TEXT', kind.flag()),

  webhookUrl: secret('MEMORY_WEBHOOK_URL', SENT_TO), // some carry a token
  webhookSecret: secret('MEMORY_WEBHOOK_SECRET', SIGNED_WITH),
  otlpEndpoint: variable(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    kind.checked(isWebUrl, `${WEB_URL}, to which /v1/traces is added`),
  ),
  reflectorUrl: secret('MEMORY_REFLECTOR_URL', SENT_TO), // some carry a token
  reflectorSecret: secret('MEMORY_REFLECTOR_SECRET', SIGNED_WITH),
  reflectorTimeoutMs: variable('MEMORY_REFLECTOR_TIMEOUT_MS', kind.timeLimit(60_000)),
  reflectorEveryTurns: variable(
    'MEMORY_REFLECTOR_EVERY_TURNS',
    kind.wholeNumber({ from: 0, to: 1_000_000, unit: 'turns', zero: 'is never' }, 0),
  ),
  reflectorIdleMs: variable(
    'MEMORY_REFLECTOR_IDLE_MS',
    kind.wholeNumber({ from: 0, to: 30 * DAY_MS, unit: 'ms', zero: 'is never' }, 0),
  ),
  reflectorMaxTokens: variable(
    'MEMORY_REFLECTOR_MAX_TOKENS',
    kind.wholeNumber({ from: 1, to: MOST, unit: 'tokens' }, 4_000),
  ),
  logLevel: variable(
    'MEMORY_LOG_LEVEL',
    kind.oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info'),
  ),
};

export type Setting = keyof typeof VARIABLES;
export type Config = { [K in Setting]: z.output<(typeof VARIABLES)[K]['schema']> };

/** The variable behind each setting. Names outside this table are not Mnemoq's. */
export const VARIABLE_NAMES = Object.fromEntries(
  Object.entries(VARIABLES).map(([setting, { name }]) => [setting, name]),
) as { [K in Setting]: (typeof VARIABLES)[K]['name'] };
