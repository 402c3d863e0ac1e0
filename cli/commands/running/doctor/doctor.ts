import { Command } from 'commander';
import { jsonOption } from '../../terminal/arguments.ts';
import type { Config, Setting } from '../../../shared/settings/variables.ts';
import { type ConfigWith, type Environment, loadConfig, STORE_SETTINGS } from '../../../shared/settings/config.ts';
import { readEnvironment } from '../../../shared/settings/environment.ts';
import { messageOf } from '../../../shared/errors.ts';
import { Ipfs } from '../../../shared/pinning/ipfs.ts';
import { createLogger } from '../../../shared/telemetry/log.ts';
import { connectLongTerm } from '../../../shared/long-term/long-term.ts';
import { SCHEMA_FILE, SCHEMA_VERSION, SEARCH_FILE } from '../../../shared/long-term/schema.ts';
import { connectProducerRedis, type RedisClient } from '../../../shared/redis/connection.ts';
import { evictionPolicy } from '../../../shared/redis/memory.ts';
import { mastersOf } from '../../../shared/redis/nodes.ts';
import { withinTime } from '../../../shared/redis/within-time.ts';
import { Signer } from '../../../shared/secrets/signing.ts';
import { EXIT } from '../../terminal/exit.ts';
import { colors, mark, print, printJson } from '../../terminal/output.ts';

interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  /** How to mend it, when it is not. */
  mend: string;
}

/** Redis 6.2 is the first with XAUTOCLAIM and GETDEL. */
const OLDEST_REDIS = [6, 2] as const;

const MIGRATE = `apply ${SCHEMA_FILE}; its first lines say how`;
/** How to mend what is found, the first that matches. */
type Mends = readonly (readonly [found: RegExp, mend: string])[];
const REDIS_MENDS: Mends = [
  [
    /NOAUTH|WRONGPASS/,
    'put its password into REDIS_URL: redis://:password@host:6379 or redis://user:password@host:6379',
  ],
  [/./, 'start it, or correct REDIS_URL'],
];
const SUPABASE_MENDS: Mends = [
  [
    /refused the key/,
    'SUPABASE_SERVICE_ROLE_KEY: the service role (secret) key of the project that SUPABASE_URL names',
  ],
  [/missing/, MIGRATE],
  [/./, 'start it, or correct SUPABASE_URL'],
];

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'check the configuration and every dependency, and say how to mend what is wrong; exit code 1 when something is',
    )
    .addOption(jsonOption())
    .action(async ({ json }: { json?: true }) => {
      const findings = await examine(readEnvironment());
      const isWell = findings.every(({ ok }) => ok);
      if (json) printJson({ ok: isWell, checks: findings.map((each) => (each.ok ? { ...each, mend: null } : each)) });
      else {
        for (const { name, ok, detail, mend } of findings) {
          print(`${mark(ok)} ${name.padEnd(14)} ${detail}`);
          if (!ok) print(`  ${colors.yellow('→')} ${mend}`);
        }
      }
      process.exitCode = isWell ? EXIT.ok : EXIT.failed;
    });
}

async function examine(environment: Environment): Promise<Finding[]> {
  const configuration = await attempt(
    'configuration',
    'set the variables named, in the environment or in .env (.env.example explains each), or run `mnemoq dev` here',
    async () => loadConfig(environment, STORE_SETTINGS) && 'complete',
  );
  let config: Config;
  try {
    config = loadConfig(environment, []);
  } catch {
    return [configuration]; // nothing else can be told with a wrong configuration
  }
  const parts = await Promise.all([examineRedis(config), examineSupabase(config), examineIpfs(config)]);
  return [configuration, ...parts.flat(), ...examineKeys(config)];
}

async function examineRedis({ redisUrl, redisTimeoutMs }: Config): Promise<Finding[]> {
  if (redisUrl === undefined) return [];
  const redis = connectProducerRedis(redisUrl, createLogger('silent', 'doctor'), redisTimeoutMs);
  let refusal: Error | null = null;
  redis.on('error', (error) => (refusal = error)); // says more than the command that gave up waiting
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

/** What each node that takes writes tells of itself and of its append-only file. */
async function askEveryMaster(redis: RedisClient): Promise<string[]> {
  const masters = await mastersOf(redis);
  // One section a command: Redis 6.2 takes no more.
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

async function examineSupabase(config: Config): Promise<Finding[]> {
  if (!has(config, ['supabaseUrl', 'supabaseServiceRoleKey'])) return [];
  const longTerm = connectLongTerm(config);
  const tables = await attempt('Supabase', SUPABASE_MENDS, async () => {
    await longTerm.check();
    return 'both tables answer';
  });
  if (!tables.ok) return [tables];
  const schema = await attempt('schema', MIGRATE, async () => {
    const version = await longTerm.schemaVersion();
    if (version < SCHEMA_VERSION) throw new Error(`version ${version}, this Mnemoq needs ${SCHEMA_VERSION}`);
    return `version ${version}`;
  });
  if (!schema.ok) return [tables, schema];
  const search = await attempt('search', SUPABASE_MENDS, async () =>
    (await longTerm.questions.canSearch()) ? 'installed' : `not installed (optional): ${SEARCH_FILE}`,
  );
  return [tables, schema, search];
}

async function examineIpfs({ ipfsApiUrl, ipfsTimeoutMs }: Config): Promise<Finding[]> {
  const name = 'IPFS';
  if (ipfsApiUrl === undefined) {
    const mend = "IPFS_API_URL=http://127.0.0.1:5001, or wherever a Kubo node's RPC listens; reflections need it";
    return [{ name, ok: false, detail: 'IPFS_API_URL is not set', mend }];
  }
  const ask = async () => `version ${await new Ipfs(ipfsApiUrl, ipfsTimeoutMs).version()}`;
  return [await attempt(name, 'start the node, or correct IPFS_API_URL', ask)];
}

function examineKeys({ encryptionKeys, signingKey }: Config): Finding[] {
  return [
    {
      name: 'encryption',
      ok: encryptionKeys !== undefined,
      detail: encryptionKeys ? `key ${encryptionKeys[0].kid} writes` : 'MEMORY_ENCRYPTION_KEYS is not set',
      mend:
        'MEMORY_ENCRYPTION_KEYS="k1:$(openssl rand -base64 32)", and keep a copy: what is encrypted cannot be read ' +
        'without it; private reflections and MEMORY_TEXT_CACHE=encrypted need it',
    },
    {
      name: 'signing',
      ok: signingKey !== undefined,
      detail: signingKey ? signerFound(new Signer(signingKey)) : 'MEMORY_SIGNING_KEY is not set',
      mend: 'MEMORY_SIGNING_KEY="$(openssl rand -base64 32)"; reflections need it',
    },
  ];
}

/** The public key is what MEMORY_RETIRED_SIGNING_KEYS takes once another one signs. */
function signerFound({ kid, publicKey }: Signer): string {
  return `key ${kid} signs, public key ${publicKey}`;
}

function has<const K extends Setting>(config: Config, settings: readonly K[]): config is ConfigWith<K> {
  return settings.every((setting) => config[setting] !== undefined);
}

async function attempt(name: string, mends: string | Mends, work: () => Promise<string>): Promise<Finding> {
  try {
    return { name, ok: true, detail: await work(), mend: '' };
  } catch (error) {
    const found = messageOf(error);
    return { name, ok: false, detail: found, mend: typeof mends === 'string' ? mends : mendFor(found, mends) };
  }
}

function mendFor(found: string, mends: Mends): string {
  return mends.find(([pattern]) => pattern.test(found))?.[1] ?? '';
}
