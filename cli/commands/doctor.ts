import { Command } from 'commander';
import {
  type Config,
  type ConfigWith,
  type Environment,
  loadConfig,
  readEnvironment,
  type Setting,
  STORE_SETTINGS,
} from '../../shared/config.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import { Ipfs } from '../../shared/ipfs.ts';
import { createLogger } from '../../shared/log.ts';
import { LongTerm, SCHEMA_VERSION } from '../../shared/long-term.ts';
import { connectProducerRedis, evictionPolicy, type RedisClient, withinTime } from '../../shared/redis.ts';
import { EXIT } from '../exit.ts';
import { colors, mark, print, printJson } from '../output.ts';

interface Finding {
  what: string;
  ok: boolean;
  found: string;
  /** How to mend it; null when there is nothing to mend. */
  mend: string | null;
}

/** Redis 6.2 is the first with XAUTOCLAIM and GETDEL. */
const OLDEST_REDIS = [6, 2];

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'check the configuration and every dependency, and say how to mend what is wrong; exit code 1 when something is',
    )
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: true }) => {
      const findings = await examine(readEnvironment());
      if (json) printJson(findings);
      else {
        for (const { what, ok, found, mend } of findings) {
          print(`${mark(ok)} ${what.padEnd(14)} ${found}`);
          if (!ok && mend) print(`  ${colors.yellow('→')} ${mend}`);
        }
      }
      process.exitCode = findings.every(({ ok }) => ok) ? EXIT.ok : EXIT.failed;
    });
}

async function examine(environment: Environment): Promise<Finding[]> {
  const configuration = await examineConfiguration(environment);
  let config: Config;
  try {
    config = loadConfig(environment, []);
  } catch {
    return configuration; // nothing else can be told with a wrong configuration
  }
  return [
    ...configuration,
    ...(await examineRedis(config)),
    ...(await examineSupabase(config)),
    ...(await examineIpfs(config)),
    finding(
      'encryption',
      config.encryptionKeys !== undefined || config.textCache !== 'encrypted',
      'MEMORY_ENCRYPTION_KEYS',
      KEY_HINT,
    ),
    finding(
      'signing',
      config.signingKey !== undefined,
      'MEMORY_SIGNING_KEY',
      'MEMORY_SIGNING_KEY="$(openssl rand -base64 32)"',
    ),
  ];
}

const KEY_HINT =
  'MEMORY_ENCRYPTION_KEYS="k1:$(openssl rand -base64 32)", and keep a copy: what is encrypted cannot be read without it';

function finding(what: string, ok: boolean, variable: string, mend: string): Finding {
  return { what, ok, found: ok ? 'set or not needed' : `${variable} is not set`, mend };
}

async function examineConfiguration(environment: Environment): Promise<Finding[]> {
  return attempt('configuration', 'set the variables named; .env.example explains each', async () => {
    loadConfig(environment, STORE_SETTINGS);
    return 'complete';
  });
}

async function examineRedis({ redisUrl, redisTimeoutMs }: Config): Promise<Finding[]> {
  if (redisUrl === undefined) return [];
  const redis = connectProducerRedis(redisUrl, createLogger('silent', 'doctor'), redisTimeoutMs);
  try {
    const ask = <T>(work: Promise<T>) => withinTime(work, redisTimeoutMs, 'asking');
    const reachable = await attempt(
      'Redis',
      'start it, or correct REDIS_URL',
      async () => `version ${await ask(redisVersion(redis))}`,
    );
    if (!reachable.every(({ ok }) => ok)) return reachable;
    const [major = 0, minor = 0] = (await redisVersion(redis)).split('.').map(Number);
    const recent = major > (OLDEST_REDIS[0] ?? 0) || (major === OLDEST_REDIS[0] && minor >= (OLDEST_REDIS[1] ?? 0));
    const policy = await ask(evictionPolicy(redis));
    const info = await ask(redis.info('persistence'));
    const appendOnly = /aof_enabled:1/.test(info);
    return [
      ...reachable,
      {
        what: 'Redis version',
        ok: recent,
        found: `${major}.${minor}`,
        mend: 'upgrade to Redis 6.2 or newer, or Valkey',
      },
      {
        what: 'Redis eviction',
        ok: policy === null || policy === 'noeviction',
        found: policy ?? 'not told by this server',
        mend: 'redis-cli config set maxmemory-policy noeviction, and in redis.conf: anything else may lose pending records',
      },
      {
        what: 'Redis AOF',
        ok: appendOnly,
        found: appendOnly ? 'on' : 'off',
        mend: 'redis-cli config set appendonly yes, and in redis.conf: without it a restart loses what is not flushed',
      },
    ];
  } finally {
    redis.disconnect();
  }
}

async function redisVersion(redis: RedisClient): Promise<string> {
  return /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown';
}

async function examineSupabase(config: Config): Promise<Finding[]> {
  if (!has(config, ['supabaseUrl', 'supabaseServiceRoleKey'])) return [];
  const longTerm = new LongTerm(config);
  const apply = 'apply supabase/migrations: supabase db push, or psql -f each file in order';
  const tables = await attempt(
    'Supabase',
    `check SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY; if a table is missing, ${apply}`,
    async () => {
      await longTerm.check();
      return 'both tables answer';
    },
  );
  const schema = await attempt('schema', apply, async () => {
    const version = await longTerm.schemaVersion();
    if (version < SCHEMA_VERSION) throw new Error(`version ${version}, this Mnemoq needs ${SCHEMA_VERSION}`);
    return `version ${version}`;
  });
  return [...tables, ...schema];
}

async function examineIpfs({ ipfsApiUrl, ipfsTimeoutMs }: Config): Promise<Finding[]> {
  if (ipfsApiUrl === undefined) {
    return [
      {
        what: 'IPFS',
        ok: false,
        found: 'IPFS_API_URL is not set',
        mend: "set it to a Kubo node's RPC, like http://127.0.0.1:5001; reflections need it",
      },
    ];
  }
  return attempt(
    'IPFS',
    'start the node, or correct IPFS_API_URL',
    async () => `version ${await new Ipfs(ipfsApiUrl, ipfsTimeoutMs).version()}`,
  );
}

function has<const K extends Setting>(config: Config, settings: readonly K[]): config is ConfigWith<K> {
  return settings.every((setting) => config[setting] !== undefined);
}

async function attempt(what: string, mend: string, work: () => Promise<string>): Promise<Finding[]> {
  try {
    return [{ what, ok: true, found: await work(), mend: null }];
  } catch (error) {
    const found = error instanceof MnemoqError ? error.message : messageOf(error);
    return [{ what, ok: false, found, mend }];
  }
}
