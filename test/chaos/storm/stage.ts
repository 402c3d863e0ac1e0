import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { Redis } from 'ioredis';
import { whenGone } from '../../../embedded/guard.ts';
import { type EmbeddedIpfs, startIpfs } from '../../../embedded/ipfs.ts';
import { type EmbeddedRedis, startRedis } from '../../../embedded/redis.ts';
import { loadSecrets } from '../../../embedded/secrets.ts';
import { startSupabase } from '../../../embedded/supabase.ts';
import { type FaultProxy, startFaultProxy } from '../../support/faults/fault-proxy.ts';
import { type HalfOpenProxy, startHalfOpenProxy } from '../../support/faults/half-open-proxy.ts';
import { startPostgrest } from '../../support/services/postgrest.ts';
import { POISON } from '../traffic/script.ts';

export interface StageOptions {
  dir: string;
  appendfsync: 'always' | 'everysec';
  supabase: 'postgrest' | 'embedded';
}

/** The Supabase of a run, as far as faults need to reach into it. */
interface SupabaseServer {
  url: string;
  serviceKey: string;
  /** Runs SQL as the superuser. It is null for a Supabase that offers no such way. */
  sql: ((text: string) => Promise<unknown>) | null;
  /** Kills the API and starts it again on the same URL. It is null for a Supabase whose API is in this process. */
  api: { kill(): Promise<void>; start(): Promise<void> } | null;
  stop(): Promise<void>;
}

/** The two proxies between Mnemoq and a service: the first one passes bytes, the second one HTTP. Redis has only the first. */
interface Way {
  line: HalfOpenProxy;
  http: FaultProxy;
}

/** The real parts of a run. Mnemoq reaches them through proxies that can fail; the audit reaches them directly. */
export class Stage {
  /** The settings with which Mnemoq reaches the parts, through the proxies. */
  readonly environment: Record<string, string>;
  readonly redisLine: HalfOpenProxy;
  readonly supabaseWay: Way;
  readonly ipfsWay: Way;
  readonly supabaseServer: SupabaseServer;
  /** These reach the parts without the proxies. */
  readonly redis: Redis;
  readonly supabase: SupabaseClient;
  readonly ipfsUrl: string;
  /** The times at which Redis was killed. What was acknowledged before such a time must be there after it. */
  readonly redisKills: number[] = [];
  readonly #options: StageOptions;
  readonly #ipfs: EmbeddedIpfs;
  #server: EmbeddedRedis;
  #thaw: (() => void) | null = null;

  private constructor(parts: {
    options: StageOptions;
    environment: Record<string, string>;
    server: EmbeddedRedis;
    redisLine: HalfOpenProxy;
    supabaseServer: SupabaseServer;
    supabaseWay: Way;
    ipfs: EmbeddedIpfs;
    ipfsWay: Way;
  }) {
    this.#options = parts.options;
    this.#server = parts.server;
    this.#ipfs = parts.ipfs;
    this.environment = parts.environment;
    this.redisLine = parts.redisLine;
    this.supabaseServer = parts.supabaseServer;
    this.supabaseWay = parts.supabaseWay;
    this.ipfsWay = parts.ipfsWay;
    this.ipfsUrl = parts.ipfs.url;
    this.redis = new Redis(parts.server.url, { retryStrategy: () => 100 });
    this.redis.on('error', () => undefined); // it is killed on purpose
    this.supabase = createClient(parts.supabaseServer.url, parts.supabaseServer.serviceKey, {
      auth: { persistSession: false, autoRefreshToken: false },
    });
  }

  static async start(options: StageOptions): Promise<Stage> {
    const { dir, appendfsync } = options;
    mkdirSync(dir, { recursive: true });
    const secrets = loadSecrets(dir);
    const [server, ipfs, supabaseServer] = await Promise.all([
      startRedis(path.join(dir, 'redis'), { appendfsync }),
      startIpfs(path.join(dir, 'ipfs')),
      options.supabase === 'postgrest' ? postgrestServer() : embeddedServer(dir),
    ]);
    const [redisLine, supabaseWay, ipfsWay] = await Promise.all([
      startHalfOpenProxy(server.port),
      openWay(supabaseServer.url),
      openWay(ipfs.url),
    ]);
    const environment = {
      PATH: process.env['PATH'] ?? '',
      REDIS_URL: urlOf('redis', redisLine),
      SUPABASE_URL: urlOf('http', supabaseWay.line),
      SUPABASE_SERVICE_ROLE_KEY: supabaseServer.serviceKey,
      IPFS_API_URL: urlOf('http', ipfsWay.line),
      MEMORY_ENCRYPTION_KEYS: secrets.encryptionKeys,
      MEMORY_SIGNING_KEY: secrets.signingKey,
      MEMORY_LOG_LEVEL: 'info',
      // These are short, so that expiry, trimming, refill and every time limit come many times in a run.
      MEMORY_REDIS_TTL_SECONDS: '6',
      MEMORY_SHORT_TERM_LIMIT: '20',
      MEMORY_FLUSH_INTERVAL_MS: '1500',
      MEMORY_REDIS_TIMEOUT_MS: '1500',
      MEMORY_SUPABASE_TIMEOUT_MS: '3000',
      MEMORY_IPFS_TIMEOUT_MS: '3000',
      MEMORY_SHUTDOWN_TIMEOUT_MS: '5000',
      MNEMOQ_DATA_DIR: dir,
    };
    return new Stage({ options, environment, server, redisLine, supabaseServer, supabaseWay, ipfs, ipfsWay });
  }

  /** Makes Supabase refuse the rows of poisoned conversations. Returns false for a Supabase that cannot be made to do so. */
  async poison(): Promise<boolean> {
    const { sql } = this.supabaseServer;
    await sql?.(`alter table memories add constraint chaos_poison check (context_id not like '%${POISON}')`);
    return sql !== null;
  }

  async killRedis(): Promise<void> {
    const { process: server } = this.#server;
    const exited = once(server, 'exit');
    this.redisKills.push(Date.now());
    server.kill('SIGKILL');
    await exited;
  }

  async stopRedis(): Promise<void> {
    await this.#server.stop();
  }

  /** Starts Redis again on the same port, from the same append-only file. */
  async startRedis(): Promise<void> {
    const { dir, appendfsync } = this.#options;
    this.#server = await startRedis(path.join(dir, 'redis'), { port: this.#server.port, appendfsync });
  }

  /** Stops Redis with SIGSTOP. Its connections stay open. */
  freezeRedis(): void {
    const { process: server } = this.#server;
    // A process that is stopped does not hear the signal of its own guard, so it must be woken first.
    this.#thaw = whenGone('kill -CONT "$1"', String(server.pid));
    server.kill('SIGSTOP');
  }

  thawRedis(): void {
    this.#server.process.kill('SIGCONT');
    this.#thaw?.();
    this.#thaw = null;
  }

  async stop(): Promise<void> {
    if (this.#thaw) this.thawRedis();
    this.redis.disconnect();
    await Promise.all([this.redisLine, this.supabaseWay.line, this.ipfsWay.line].map((line) => line.stop()));
    await Promise.all([this.supabaseWay.http.stop(), this.ipfsWay.http.stop()]);
    await Promise.all([this.#server.stop(), this.#ipfs.stop(), this.supabaseServer.stop()]);
  }
}

async function openWay(url: string): Promise<Way> {
  const http = await startFaultProxy(url, { keepRequests: false });
  return { http, line: await startHalfOpenProxy(Number(new URL(http.url).port)) };
}

function urlOf(protocol: 'redis' | 'http', { port }: HalfOpenProxy): string {
  return `${protocol}://127.0.0.1:${port}`;
}

async function postgrestServer(): Promise<SupabaseServer> {
  const server = await startPostgrest();
  return {
    url: server.url,
    serviceKey: server.serviceKey,
    sql: (text) => server.sql(text),
    api: { kill: () => server.stopApi(), start: () => server.startApi() },
    stop: () => server.stop(),
  };
}

async function embeddedServer(dir: string): Promise<SupabaseServer> {
  const secrets = loadSecrets(dir);
  const server = await startSupabase(path.join(dir, 'supabase'), secrets);
  return { url: server.url, serviceKey: secrets.secretKey, sql: null, api: null, stop: () => server.stop() };
}
