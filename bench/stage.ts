import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { say } from '../cli/terminal/output.ts';
import { WorkerProcesses } from '../cli/process/worker-processes.ts';
import { type EmbeddedParts, startEmbeddedParts } from '../embedded/parts.ts';
import { MemoryCore } from '../producers/index.ts';
import { messageOf } from '../shared/errors.ts';
import type { WorkerKind } from '../workers/kinds.ts';
import { type Postgrest, startPostgrest } from '../test/support/services/postgrest.ts';

/** A time short enough to measure the end of a queue to one hundredth, and long enough to cost Redis nothing. */
const POLL_MS = 10;

/** A Supabase on which is measured. */
export interface Place {
  name: 'embedded' | 'postgrest';
  url: string;
  key: string;
  /** A client of supabase-js with the service key, without any code of Mnemoq. */
  client: SupabaseClient;
  /** Runs SQL directly in its database. It is null where no PostgreSQL can be reached. */
  sql: Postgrest['sql'] | null;
}

/** Everything that one run of the benchmark starts, and how it ends. */
export class Stage {
  readonly places: readonly [Place, ...Place[]];
  readonly redisVersion: string;
  readonly #parts: EmbeddedParts;
  readonly #end: () => Promise<void>;
  #database = 0;
  #opened: (() => Promise<unknown>)[] = [];

  constructor(parts: EmbeddedParts, places: [Place, ...Place[]], redisVersion: string, end: () => Promise<void>) {
    this.#parts = parts;
    this.places = places;
    this.redisVersion = redisVersion;
    this.#end = end;
  }

  /** Starts the embedded parts in a new folder, and PostgreSQL with PostgREST where their packages are installed. */
  static async start(): Promise<Stage> {
    const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-bench-'));
    const removeDir = () => rmSync(dir, { recursive: true, force: true });
    try {
      const parts = await startEmbeddedParts(dir);
      const postgrest = await startPostgrest().catch((error: unknown) => {
        say(`no PostgreSQL with PostgREST, measuring on the embedded Supabase only: ${messageOf(error)}`);
        return null;
      });
      const embedded = placeOf(
        'embedded',
        parts.supabase.url,
        parts.environment['SUPABASE_SERVICE_ROLE_KEY'] ?? '',
        null,
      );
      const more = postgrest
        ? [placeOf('postgrest', postgrest.url, postgrest.serviceKey, (text, values) => postgrest.sql(text, values))]
        : [];
      return new Stage(parts, [embedded, ...more], await versionOf(parts.redis.url), async () => {
        await Promise.all([parts.stop(), postgrest?.stop()]);
        removeDir();
      });
    } catch (error) {
      removeDir();
      throw error;
    }
  }

  /** Gives the settings of Mnemoq for one Supabase, with an empty database of Redis for itself. */
  newEnvironment(place: Place): Record<string, string> {
    return {
      ...this.#parts.environment,
      REDIS_URL: `${this.#parts.redis.url}/${this.#database++}`,
      SUPABASE_URL: place.url,
      SUPABASE_SERVICE_ROLE_KEY: place.key,
      MEMORY_LOG_LEVEL: 'warn',
      MEMORY_HEALTH_PORT: '0',
      // A flush runs only when a measurement asks for it.
      MEMORY_FLUSH_INTERVAL_MS: '86400000',
      MEMORY_FLUSH_MAX_PENDING: '10000000',
    };
  }

  memory(environment: Record<string, string>): MemoryCore {
    const memory = new MemoryCore(environment);
    this.onRelease(() => memory.close());
    return memory;
  }

  redis(environment: Record<string, string>): Redis {
    const redis = new Redis(environment['REDIS_URL'] ?? '');
    this.onRelease(async () => redis.disconnect());
    return redis;
  }

  queue(name: string, environment: Record<string, string>): Queue {
    const queue = new Queue(name, { connection: this.redis(environment) });
    this.onRelease(() => queue.close());
    return queue;
  }

  async startWorkers(environment: Record<string, string>, ...kinds: WorkerKind[]): Promise<void> {
    const workers = new WorkerProcesses(environment);
    this.onRelease(() => workers.stop());
    await Promise.all(kinds.map((kind) => workers.start('worker', kind)));
  }

  onRelease(close: () => Promise<unknown>): void {
    this.#opened.push(close);
  }

  /** Closes what a measurement has opened, so that its idle workers do not slow down the next one. */
  async release(): Promise<void> {
    const opened = this.#opened.splice(0).toReversed();
    for (const close of opened) await close();
  }

  async stop(): Promise<void> {
    await this.release();
    await this.#end();
  }
}

/** Resolves when no job waits and none is being worked on. */
export async function drained(queue: Queue): Promise<void> {
  for (;;) {
    const counts = await queue.getJobCounts('waiting', 'active');
    if (Object.values(counts).every((count) => count === 0)) return;
    await sleep(POLL_MS);
  }
}

function placeOf(name: Place['name'], url: string, key: string, sql: Place['sql']): Place {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  return { name, url, key, client, sql };
}

async function versionOf(redisUrl: string): Promise<string> {
  const redis = new Redis(redisUrl);
  const info = await redis.info('server');
  redis.disconnect();
  return /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'unknown';
}
