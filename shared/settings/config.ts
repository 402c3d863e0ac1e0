/**
 * **shared/settings/**: the environment, read once, checked, and refused with a clear message. Nothing else in the code
 * looks at it.
 */
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';
import { CronExpressionParser } from 'cron-parser';
import { parse as parseDotenv } from 'dotenv';
import { z } from 'zod';
import { parseApiKeys } from '../secrets/api-keys.ts';
import { isClusterUrl, parseClusterUrl } from './cluster-url.ts';
import { type EncryptionKey, KEY_BYTES } from '../secrets/encryption.ts';
import { MnemoqError, messageOf } from '../errors.ts';
import { isTimeZone } from './time-zone.ts';
import { ENCODINGS } from '../records/tokenizer.ts';
import { describe } from '../validate.ts';

/** Two days, in seconds. */
const TWO_DAYS = 172_800;

/** What a variable must be, in words for the error message; a secret's value is never shown. */
interface Expectation {
  expected: string;
  secret?: true;
}

function variable<T>(schema: z.ZodType<T, string | undefined>, expected: string, secret?: 'secret') {
  return { schema, expectation: { expected, ...(secret && { secret: true }) } satisfies Expectation };
}

const text = z.string();
const webUrl = text.refine((value) => {
  const parsed = parseUrl(value, ['http:', 'https:']);
  return parsed !== null && parsed.search + parsed.hash === '';
});
const host = (fallback: string) =>
  text.refine((value) => isIP(value) !== 0 || /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(value)).default(fallback);
const wholeNumber = (min: number, max: number, fallback: number) =>
  text
    .regex(/^\d+$/)
    .transform(Number)
    .refine((n) => n >= min && n <= max)
    .default(fallback);
const oneOf = <const T extends readonly [string, ...string[]]>(values: T, fallback: T[number]) =>
  z.enum(values).default(fallback as never);
const identifier = (fallback: string) => text.regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/).default(fallback);
const flag = () => oneOf(['true', 'false'], 'false').transform((value) => value === 'true');
const port = (fallback: number) => wholeNumber(0, 65_535, fallback);

/**
 * Every variable Mnemoq reads, in the order of `.env.example`. The environment is read here and nowhere else.
 * A variable that is unset or empty takes its default.
 */
const VARIABLES = {
  redisUrl: variable(
    text.refine(isRedisUrl).optional(),
    'a redis:// or rediss:// URL, after its host only a port and a database number ' +
      '(redis+cluster:// or rediss+cluster:// for a Redis Cluster, host:port,host:port,…)',
    'secret',
  ),
  supabaseUrl: variable(webUrl.optional(), 'an http:// or https:// URL'),
  supabaseServiceRoleKey: variable(
    text.regex(/^[\x21-\x7e]{16,}$/).optional(), // it goes into a header
    'the service role key, 16 characters or more of ASCII without spaces',
    'secret',
  ),
  ipfsApiUrl: variable(webUrl.optional(), "an http:// or https:// URL of a Kubo node's RPC"),
  redisTtlSeconds: variable(wholeNumber(1, 31_536_000, TWO_DAYS), 'a whole number of seconds from 1 to 31536000'),
  shortTermLimit: variable(wholeNumber(1, 10_000, 100), 'a whole number from 1 to 10000'),
  encoding: variable(oneOf(ENCODINGS, 'cl100k_base'), `one of ${ENCODINGS.join(', ')}`),
  writeMode: variable(oneOf(['batch', 'immediate'], 'batch'), 'batch or immediate'),
  flushStrategy: variable(oneOf(['interval', 'off-peak'], 'interval'), 'interval or off-peak'),
  flushIntervalMs: variable(wholeNumber(1_000, 86_400_000, 300_000), 'a whole number of ms from 1000 to 86400000'),
  flushOffPeakCron: variable(text.refine(isCron).default('0 3 * * *'), 'a cron expression such as "0 3 * * *"'),
  flushTz: variable(text.refine(isTimeZone).default('UTC'), 'an IANA time zone such as Asia/Taipei'),
  flushBatchSize: variable(wholeNumber(1, 1_000, 500), 'a whole number of rows from 1 to 1000'),
  flushMaxPending: variable(wholeNumber(1, 10_000_000, 1_000), 'a whole number of records from 1 to 10000000'),
  textCache: variable(oneOf(['encrypted', 'plain', 'off'], 'encrypted'), 'encrypted, plain or off'),
  encryptTokens: variable(flag(), 'true or false'),
  allowPlainRows: variable(flag(), 'true or false'),
  encryptionKeys: variable(
    text.transform(parseEncryptionKeys).optional(),
    'kid:base64 of 32 random bytes, several separated by commas, the first one writes (openssl rand -base64 32)',
    'secret',
  ),
  signingKey: variable(
    text.transform(parseSigningKey).optional(),
    'base64 of 32 random bytes, an Ed25519 seed (openssl rand -base64 32)',
    'secret',
  ),
  trustedKeys: variable(
    text.transform((value, context) => parsePublicKeys(value) ?? refuse(context)).optional(),
    'public Ed25519 keys, base64url of 32 bytes each, several separated by commas (mnemoq doctor shows the one in use)',
    'secret', // somebody may have put the seed there
  ),
  apiKeys: variable(
    text.transform((value, context) => parseApiKeys(value) ?? refuse(context)).optional(),
    'name:secret or name@user:secret, several separated by commas, the user percent-encoded, each secret another one, ' +
      '16 characters or more of ASCII without spaces',
    'secret',
  ),
  supabaseJwtSecret: variable(
    text.refine((value) => value.length >= 32).optional(),
    "the secret that signs the project's tokens, 32 characters or more",
    'secret',
  ),
  supabaseJwksUrl: variable(
    webUrl.optional(),
    "an http:// or https:// URL of the project's public keys, .../auth/v1/.well-known/jwks.json",
  ),
  dataDir: variable(text.default('.mnemoq'), 'a folder'),
  memoriesTable: variable(identifier('memories'), 'a table name of letters, digits and underscores'),
  reflectionsTable: variable(identifier('memory_reflections'), 'a table name of letters, digits and underscores'),
  redisTimeoutMs: variable(wholeNumber(100, 600_000, 5_000), 'a whole number of ms from 100 to 600000'),
  redisMaxUsedPercent: variable(wholeNumber(1, 100, 90), 'a whole number from 1 to 100'),
  supabaseTimeoutMs: variable(wholeNumber(100, 600_000, 20_000), 'a whole number of ms from 100 to 600000'),
  ipfsTimeoutMs: variable(wholeNumber(100, 600_000, 30_000), 'a whole number of ms from 100 to 600000'),
  shutdownTimeoutMs: variable(wholeNumber(100, 600_000, 25_000), 'a whole number of ms from 100 to 600000'),
  workerConcurrency: variable(wholeNumber(1, 1_000, 50), 'a whole number from 1 to 1000'),
  healthHost: variable(host('127.0.0.1'), 'an address or a host name to listen on'),
  healthPort: variable(port(0), 'a port from 0 to 65535; 0 switches it off'),
  apiHost: variable(host('127.0.0.1'), 'an address or a host name to listen on'),
  apiPort: variable(port(3000), 'a port from 0 to 65535; 0 takes a free one'),
  corsOrigins: variable(
    text.transform((value, context) => parseOrigins(value) ?? refuse(context)).optional(),
    'origins such as https://app.example.com, several separated by commas',
  ),
  rateLimit: variable(
    wholeNumber(0, 10_000_000, 6_000),
    'a whole number of requests from 0 to 10000000; 0 is no limit',
  ),
  mcpHost: variable(host('127.0.0.1'), 'an address or a host name to listen on'),
  mcpPort: variable(port(3002), 'a port from 0 to 65535; 0 takes a free one'),
  dashboardHost: variable(host('127.0.0.1'), 'an address or a host name to listen on'),
  dashboardPort: variable(port(3001), 'a port from 0 to 65535; 0 takes a free one'),
  dashboardReadOnly: variable(flag(), 'true or false'),
  dashboardShowText: variable(flag(), 'true or false'),
  webhookUrl: variable(
    text.refine(isWebhookUrl).optional(),
    'an http:// or https:// URL without name and password',
    'secret', // some carry a token
  ),
  webhookSecret: variable(
    text.refine(isWebhookSecret).optional(),
    'whsec_ and base64 of 24 to 64 random bytes (echo "whsec_$(openssl rand -base64 32)")',
    'secret',
  ),
  otlpEndpoint: variable(webUrl.optional(), 'an http:// or https:// URL, to which /v1/traces is added'),
  reflectorUrl: variable(
    text.refine(isWebhookUrl).optional(),
    'an http:// or https:// URL without name and password',
    'secret', // some carry a token
  ),
  reflectorSecret: variable(
    text.refine(isWebhookSecret).optional(),
    'whsec_ and base64 of 24 to 64 random bytes (echo "whsec_$(openssl rand -base64 32)")',
    'secret',
  ),
  reflectorTimeoutMs: variable(wholeNumber(100, 600_000, 60_000), 'a whole number of ms from 100 to 600000'),
  reflectEveryTurns: variable(wholeNumber(0, 1_000_000, 0), 'a whole number of turns from 0 to 1000000; 0 is never'),
  reflectIdleMs: variable(wholeNumber(0, 2_592_000_000, 0), 'a whole number of ms from 0 to 2592000000; 0 is never'),
  reflectMaxTokens: variable(wholeNumber(1, 10_000_000, 4_000), 'a whole number of tokens from 1 to 10000000'),
  logLevel: variable(
    oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info'),
    'trace, debug, info, warn, error, fatal or silent',
  ),
} as const;

/** The variable behind each setting. Names outside this table are not Mnemoq's. */
export const VARIABLE_NAMES = {
  redisUrl: 'REDIS_URL',
  supabaseUrl: 'SUPABASE_URL',
  supabaseServiceRoleKey: 'SUPABASE_SERVICE_ROLE_KEY',
  ipfsApiUrl: 'IPFS_API_URL',
  redisTtlSeconds: 'MEMORY_REDIS_TTL_SECONDS',
  shortTermLimit: 'MEMORY_SHORT_TERM_LIMIT',
  encoding: 'MEMORY_ENCODING',
  writeMode: 'MEMORY_WRITE_MODE',
  flushStrategy: 'MEMORY_FLUSH_STRATEGY',
  flushIntervalMs: 'MEMORY_FLUSH_INTERVAL_MS',
  flushOffPeakCron: 'MEMORY_FLUSH_OFF_PEAK_CRON',
  flushTz: 'MEMORY_FLUSH_TZ',
  flushBatchSize: 'MEMORY_FLUSH_BATCH_SIZE',
  flushMaxPending: 'MEMORY_FLUSH_MAX_PENDING',
  textCache: 'MEMORY_TEXT_CACHE',
  encryptTokens: 'MEMORY_ENCRYPT_TOKENS',
  allowPlainRows: 'MEMORY_ALLOW_PLAIN_ROWS',
  encryptionKeys: 'MEMORY_ENCRYPTION_KEYS',
  signingKey: 'MEMORY_SIGNING_KEY',
  trustedKeys: 'MEMORY_TRUSTED_KEYS',
  apiKeys: 'MEMORY_API_KEYS',
  supabaseJwtSecret: 'SUPABASE_JWT_SECRET',
  supabaseJwksUrl: 'SUPABASE_JWKS_URL',
  dataDir: 'MNEMOQ_DATA_DIR',
  memoriesTable: 'MEMORY_MEMORIES_TABLE',
  reflectionsTable: 'MEMORY_REFLECTIONS_TABLE',
  redisTimeoutMs: 'MEMORY_REDIS_TIMEOUT_MS',
  redisMaxUsedPercent: 'MEMORY_REDIS_MAX_USED_PERCENT',
  supabaseTimeoutMs: 'MEMORY_SUPABASE_TIMEOUT_MS',
  ipfsTimeoutMs: 'MEMORY_IPFS_TIMEOUT_MS',
  shutdownTimeoutMs: 'MEMORY_SHUTDOWN_TIMEOUT_MS',
  workerConcurrency: 'MEMORY_WORKER_CONCURRENCY',
  healthHost: 'MEMORY_HEALTH_HOST',
  healthPort: 'MEMORY_HEALTH_PORT',
  apiHost: 'MEMORY_API_HOST',
  apiPort: 'MEMORY_API_PORT',
  corsOrigins: 'MEMORY_CORS_ORIGINS',
  rateLimit: 'MEMORY_RATE_LIMIT',
  mcpHost: 'MEMORY_MCP_HOST',
  mcpPort: 'MEMORY_MCP_PORT',
  dashboardHost: 'MEMORY_DASHBOARD_HOST',
  dashboardPort: 'MEMORY_DASHBOARD_PORT',
  dashboardReadOnly: 'MEMORY_DASHBOARD_READ_ONLY',
  dashboardShowText: 'MEMORY_DASHBOARD_SHOW_TEXT',
  webhookUrl: 'MEMORY_WEBHOOK_URL',
  webhookSecret: 'MEMORY_WEBHOOK_SECRET',
  otlpEndpoint: 'OTEL_EXPORTER_OTLP_ENDPOINT',
  reflectorUrl: 'MEMORY_REFLECTOR_URL',
  reflectorSecret: 'MEMORY_REFLECTOR_SECRET',
  reflectorTimeoutMs: 'MEMORY_REFLECTOR_TIMEOUT_MS',
  reflectEveryTurns: 'MEMORY_REFLECT_EVERY_TURNS',
  reflectIdleMs: 'MEMORY_REFLECT_IDLE_MS',
  reflectMaxTokens: 'MEMORY_REFLECT_MAX_TOKENS',
  logLevel: 'MEMORY_LOG_LEVEL',
} as const satisfies Record<keyof typeof VARIABLES, string>;

export type Setting = keyof typeof VARIABLES;
export type Config = { [K in Setting]: z.output<(typeof VARIABLES)[K]['schema']> };
/** A configuration in which these settings are certainly there. */
export type ConfigWith<K extends Setting> = Config & { [P in K]: NonNullable<Config[P]> };
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a process that enqueues and reads cannot do without. */
export const STORE_SETTINGS = ['redisUrl', 'supabaseUrl', 'supabaseServiceRoleKey'] as const;

/**
 * Reads and checks the whole environment, and that every setting in `needed` is there; what is needed may depend on what
 * was read, of which a wrong variable's setting is missing.
 * Throws `invalid_configuration` naming each wrong variable, what was expected and what was found, all at once.
 */
export function loadConfig<const K extends Setting>(
  environment: Environment,
  needed: readonly K[] | ((read: Partial<Config>) => readonly K[]),
): ConfigWith<K> {
  if (typeof environment !== 'object' || environment === null) {
    throw refusal([`the environment: expected an object of variables, found ${describe(environment)}`]);
  }
  const readings = (Object.keys(VARIABLES) as Setting[]).map((setting) => {
    const { schema, expectation } = VARIABLES[setting];
    const given: unknown = environment[VARIABLE_NAMES[setting]]; // typed for those who check types
    const found = given === '' ? undefined : given;
    return { setting, expectation, found, result: schema.safeParse(found) };
  });
  const config: Partial<Config> = Object.fromEntries(readings.map(({ setting, result }) => [setting, result.data]));
  const neededNow: readonly Setting[] = typeof needed === 'function' ? needed(config) : needed;
  const problems = readings
    .filter(({ setting, found, result }) =>
      result.success ? found === undefined && result.data === undefined && neededNow.includes(setting) : true,
    )
    .map(
      ({ setting, expectation, found }) =>
        `${VARIABLE_NAMES[setting]}: expected ${expectation.expected}, found ${shown(found, expectation)}`,
    );
  if (problems.length > 0) throw refusal(problems);
  return config as ConfigWith<K>;
}

function refusal(problems: readonly string[], cause?: unknown): MnemoqError {
  const message = `the configuration is not complete:\n  ${problems.join('\n  ')}`;
  return new MnemoqError('invalid_configuration', message, { cause });
}

function shown(found: unknown, expectation: Expectation): string {
  if (found === undefined) return 'nothing';
  if (typeof found !== 'string') return `a value of type ${typeof found}`;
  if (expectation.secret) return `a value of ${found.length} characters`;
  return JSON.stringify(found.replace(/\/\/.*@/s, '//***@')); // a URL may carry a password
}

/** Where `mnemoq dev` leaves the addresses and keys of its embedded parts while it runs. */
export function devEnvironmentFile(dataDir: string): string {
  return path.join(dataDir, 'dev.env');
}

/** The process's environment over `.env` over what a running `mnemoq dev` has left in the data folder. */
export function readEnvironment(): Environment {
  const dotenv = readEnvironmentFile('.env');
  const dataDir = process.env['MNEMOQ_DATA_DIR'] || dotenv['MNEMOQ_DATA_DIR'] || '.mnemoq';
  // An empty value is an unset one, also in a file: it hides no value of a layer below.
  const layers = [readEnvironmentFile(devEnvironmentFile(dataDir)), dotenv, process.env];
  return Object.fromEntries(layers.flatMap((layer) => Object.entries(layer).filter(([, value]) => value)));
}

/** A folder of that name is none of Mnemoq's: some keep a Python environment in `.env`. */
function readEnvironmentFile(file: string): Record<string, string> {
  const about = statSync(file, { throwIfNoEntry: false });
  if (!about || about.isDirectory()) return {};
  const content = contentOf(file);
  const settings = parseDotenv(content);
  const line = straySetting(content, settings);
  if (line !== null) throw refusal([`${file}, line ${line}: expected NAME=value in UTF-8, found something else`]);
  return settings;
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw refusal([`${file}: expected a file that can be read, found ${messageOf(error)}`], error);
  }
}

/**
 * The number of the first line that dotenv passes over in silence although it begins with one of our variables, or that is
 * not even text (some Windows shells write UTF-16). Lines about others are their matter.
 */
function straySetting(content: string, settings: Readonly<Record<string, string>>): number | null {
  const missed = new Set<string>(Object.values(VARIABLE_NAMES).filter((name) => !(name in settings)));
  const isStray = (line: string) =>
    /[\0\uFFFD]/.test(line) || missed.has(/^[^\w#]*(?:export\s+)?(\w+)/.exec(line)?.[1] ?? '');
  const index = content.split(/\r\n?|\n/).findIndex(isStray);
  return index === -1 ? null : index + 1;
}

function parseUrl(value: string, protocols: readonly string[]): URL | null {
  const parsed = /\s/.test(value) ? null : URL.parse(value); // which would ignore some white space; others do not
  return parsed && protocols.includes(parsed.protocol) && parsed.hostname !== '' ? parsed : null;
}

/** ioredis takes whatever else is in a URL for a database or for options, and fails when it is first used. */
function isRedisUrl(value: string): boolean {
  if (isClusterUrl(value)) return parseClusterUrl(value) !== null;
  const parsed = parseUrl(value, ['redis:', 'rediss:']);
  if (!parsed) return false;
  const { port, pathname, search, hash, username, password } = parsed;
  const readable = /^\/?\d{0,5}$/.test(pathname) && /^(\?family=[046])?$/.test(search) && hash === '';
  return readable && port !== '0' && isPercentEncoded(username + password);
}

function isPercentEncoded(value: string): boolean {
  try {
    return decodeURIComponent(value) !== null;
  } catch {
    return false;
  }
}

/** With five or six fields, or `@daily` and the like: the parser would fill up fewer, so that "3" ran every minute. */
function isCron(value: string): boolean {
  if (!/^(@\w+|\S+(\s+\S+){4,5})$/.test(value)) return false;
  try {
    CronExpressionParser.parse(value);
    return true;
  } catch {
    return false;
  }
}

function isWebhookUrl(value: string): boolean {
  const parsed = parseUrl(value, ['http:', 'https:']);
  return parsed !== null && parsed.username + parsed.password + parsed.hash === '';
}

function isWebhookSecret(value: string): boolean {
  const [, base64 = ''] = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(value) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 && bytes.length >= 24 && bytes.length <= 64;
}

/** A zod transform reports a wrong value by adding an issue and returning NEVER. */
function refuse(context: z.RefinementCtx): never {
  context.addIssue({ code: 'custom' });
  return z.NEVER;
}

function keyBytes(base64: string): Buffer | undefined {
  const bytes = Buffer.from(base64, 'base64');
  return /^[A-Za-z0-9+/_-]+=*$/.test(base64) && bytes.length === KEY_BYTES ? bytes : undefined;
}

function parseEncryptionKeys(value: string, context: z.RefinementCtx): [EncryptionKey, ...EncryptionKey[]] {
  const keys = value.split(',').map((entry) => {
    const [kid = '', base64 = ''] = entry.trim().split(/:(.*)/s);
    const key = keyBytes(base64);
    return key && /^[A-Za-z0-9_-]{1,32}$/.test(kid) ? { kid, key } : undefined;
  });
  const [first, ...rest] = keys.filter((key) => key !== undefined);
  const distinct = new Set(keys.map((key) => key?.kid)).size === keys.length;
  if (!first || rest.length + 1 !== keys.length || !distinct) return refuse(context);
  return [first, ...rest];
}

function parseSigningKey(value: string, context: z.RefinementCtx): Buffer {
  return keyBytes(value) ?? refuse(context);
}

/** In the one spelling in which documents and rows carry them. */
function parsePublicKeys(value: string): string[] | null {
  const keys = value.split(',').map((entry) => keyBytes(entry.trim())?.toString('base64url'));
  const known = keys.filter((key) => key !== undefined);
  return known.length === keys.length ? known : null;
}

/** As browsers send them: scheme, host and port, and nothing behind. */
function parseOrigins(value: string): string[] | null {
  const origins = value.split(',').map((entry) => entry.trim());
  const isOrigin = (entry: string) => parseUrl(entry, ['http:', 'https:'])?.origin === entry;
  return origins.every(isOrigin) ? origins : null;
}
