import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toCursor } from '../../producers/reading/context.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { connectLongTerm, type LongTerm } from '../../shared/long-term/long-term.ts';
import { Pending } from '../../shared/short-term/pending.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { ShortTerm } from '../../shared/short-term/short-term.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { eventually } from '../support/faults/eventually.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/fault-proxy.ts';
import { type Postgrest, startPostgrest } from '../support/services/postgrest.ts';
import { commandsOf, type RanCommand } from '../support/inputs/redis-feed.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { moment, record } from '../support/inputs/turns.ts';
import { kill, startWorkerProcess } from '../support/clients/worker-process.ts';

/**
 * Turns in Supabase: enough that a plan which reads them all is never the cheaper one. Both have more uncommitted than a
 * refill looks through for what it may drop, two hundred, so that both end up in the same state.
 */
const SHORT = { contextId: 'short', turns: 300, uncommitted: 250 };
const LONG = { contextId: 'long', turns: 30_000, uncommitted: 5_000 };
const OTHERS = 20_000;
const LIMIT = 20;

/** Less than the large ones of the backlog have together: a worker that holds them all, or a batch by count, dies of it. */
const WORKER_HEAP_MB = 96;
/** Small records before and after the large ones. */
const PENDING = Number(process.env['LIMITS_PENDING'] ?? 1_000);

let postgrest: Postgrest;
let proxy: FaultProxy;
let stack: Stack;
let shortTerm: ShortTerm;
let pending: Pending;
let longTerm: LongTerm;

beforeAll(async () => {
  postgrest = await startPostgrest();
  proxy = await startFaultProxy(postgrest.url);
  const environment = { SUPABASE_URL: proxy.url, SUPABASE_SERVICE_ROLE_KEY: postgrest.serviceKey };
  stack = await startStack({ environment });
  shortTerm = new ShortTerm(stack.client, new Keys(false), { limit: 100, ttlSeconds: 172_800 });
  pending = new Pending(stack.client, new Keys(false));
  longTerm = connectLongTerm(loadConfig(stack.environment, ['supabaseUrl', 'supabaseServiceRoleKey']));
  for (const { contextId, turns } of [SHORT, LONG]) await insertTurns(`'${contextId}'`, turns);
  await insertTurns(`'other ' || n % 500`, OTHERS);
  await postgrest.sql('analyze memories');
  // PostgREST then answers `Accept: application/vnd.pgrst.plan+json` with how PostgreSQL goes about a request.
  await postgrest.sql(`alter role authenticator set pgrst.db_plan_enabled to 'true'`);
  await postgrest.sql(`notify pgrst, 'reload config'`);
});
afterAll(async () => {
  await stack.stop();
  await proxy.stop();
  await postgrest.stop();
});

/** A second apart, as moment() has them. */
async function insertTurns(contextId: string, count: number): Promise<void> {
  await postgrest.sql(
    `insert into memories (id, context_id, user_id, tokens, module, created_at)
     select gen_random_uuid(), ${contextId}, 'user-1', '{"encoding":"cl100k_base","user":[1],"assistant":[1]}', 'chat',
            timestamptz '${moment(0)}' + n * interval '1 second'
     from generate_series(0, ${count - 1}) n`,
  );
}

async function remember(count: number, newRecord: (n: number) => MemoryRecord): Promise<void> {
  const atOnce = 100;
  for (let start = 0; start < count; start += atOnce) {
    const length = Math.min(atOnce, count - start);
    await Promise.all(Array.from({ length }, (_, i) => shortTerm.remember(newRecord(start + i))));
  }
}

/** Cursors after which a conversation's first, middle and last pages begin. */
function pagesOf({ contextId, turns }: typeof SHORT): Record<string, string | undefined> {
  const after = (n: number) => toCursor(record(contextId, n));
  return { first: undefined, middle: after(turns / 2), last: after(turns - LIMIT - 1) };
}

describe('PostgreSQL reads no more of a table than a page', () => {
  const reads: Record<string, () => Promise<unknown>> = {
    'the newest turns': () => longTerm.memories.recent(LONG.contextId, LIMIT),
    'the first page': () => longTerm.memories.after(LONG.contextId, null, LIMIT),
    'a page in the middle': () =>
      longTerm.memories.after(LONG.contextId, `${moment(15_000)}|${record('', 0).id}`, LIMIT),
    'the last page': () => longTerm.memories.after(LONG.contextId, `${moment(29_980)}|${record('', 0).id}`, LIMIT),
    'one record': () => longTerm.memories.find(record('', 0).id),
  };

  test.each(Object.entries(reads))('for %s', async (_name, read) => {
    const [url] = await requestsOf(read);
    const nodes = nodesOf(await planOf(url as string));
    const types = nodes.map((node) => node['Node Type'] as string);
    expect(types.filter((type) => /Index (Only )?Scan/.test(type))).toHaveLength(1);
    expect(types.filter((type) => /Seq Scan|Sort|Bitmap/.test(type))).toEqual([]);
    for (const node of nodes) {
      expect((node['Actual Rows'] as number) + ((node['Rows Removed by Filter'] as number) ?? 0)).toBeLessThanOrEqual(
        LIMIT + 1,
      );
    }
  });

  test('for a conversation’s reflections', async () => {
    await postgrest.sql(
      `insert into memory_reflections
         (id, context_id, cid, sha256, signature, signing_kid, signing_key, visibility, created_at)
       select id, context_id, id::text, '', '', '', '', 'public', created_at from memories
       where context_id in ('${SHORT.contextId}', '${LONG.contextId}')`,
    );
    await postgrest.sql('analyze memory_reflections');
    for (const read of [
      () => longTerm.reflections.before({ contextId: LONG.contextId, module: 'reflection' }, null, LIMIT),
      () => longTerm.reflections.find({ cid: 'x' }),
    ]) {
      const [url] = await requestsOf(read);
      const types = nodesOf(await planOf(url as string)).map((node) => node['Node Type'] as string);
      expect(types).toEqual(expect.arrayContaining([expect.stringMatching(/Index (Only )?Scan/)]));
      expect(types.filter((type) => /Seq Scan|Sort|Bitmap/.test(type))).toEqual([]);
    }
  });

  async function planOf(url: string): Promise<PlanNode> {
    const headers = {
      authorization: `Bearer ${postgrest.serviceKey}`,
      accept: 'application/vnd.pgrst.plan+json; for="application/json"; options=analyze',
    };
    const plan = await eventually(async () => {
      const answer = await fetch(new URL(url, postgrest.url), { headers });
      if (answer.status === 406) return null; // the configuration is not reloaded yet
      return ((await answer.json()) as [{ Plan: PlanNode }])[0].Plan;
    });
    return plan as PlanNode;
  }
});

describe('a read takes the same steps in a short and in a very long conversation', () => {
  type Conversation = typeof SHORT;
  type Step = (conversation: Conversation) => Promise<unknown>;
  const reads: Record<string, Step> = {
    newest: ({ contextId }) => stack.memory.loadRecentContext(contextId, { limit: LIMIT }),
    budget: ({ contextId }) => stack.memory.loadRecentContext(contextId, { limit: LIMIT, maxTokens: 1_000 }),
    ...Object.fromEntries(
      (['first', 'middle', 'last'] as const).map((page) => [
        `${page} page`,
        (conversation: Conversation) => {
          const cursor = pagesOf(conversation)[page];
          return stack.memory.getMemoryContext(conversation.contextId, { limit: LIMIT, ...(cursor && { cursor }) });
        },
      ]),
    ),
  };

  test('expired, cached, and with thousands uncommitted', async () => {
    const steps = new Map<Conversation, unknown[]>([
      [SHORT, []],
      [LONG, []],
    ]);
    for (const [conversation, traces] of steps) {
      const { contextId, turns, uncommitted } = conversation;
      const traceReads = async (...names: string[]) => {
        for (const name of names) traces.push({ [name]: await trace(conversation, reads[name] as Step) });
      };
      await traceReads('newest'); // which fills up the cache
      await traceReads(...Object.keys(reads));
      await remember(uncommitted, (n) => record(contextId, turns + n));
      await traceReads(...Object.keys(reads));
      await stack.client.hdel(new Keys(false).conversation(contextId), 'floor');
      await traceReads('newest');
    }
    expect(steps.get(LONG)).toEqual(steps.get(SHORT));
  });

  test('and so do remembering one more and acknowledging what was uncommitted', async () => {
    const rememberNext: Step = ({ contextId, turns, uncommitted }) =>
      shortTerm.remember(record(contextId, turns + uncommitted));
    expect(await trace(LONG, rememberNext)).toEqual(await trace(SHORT, rememberNext));
    const taken = await pending.take('', 'tester', 10_000);
    const acknowledge: Step = async ({ contextId }) => {
      const mine = taken.filter((entry) => entry.contextId === contextId).slice(0, 50);
      const ids = mine.map(({ id }) => id);
      const records = await shortTerm.find(contextId, ids);
      await shortTerm.acknowledge(
        contextId,
        mine.map(({ entry }, i) => ({ record: records[i] as MemoryRecord, entry, inserted: true })),
      );
    };
    expect(await trace(LONG, acknowledge)).toEqual(await trace(SHORT, acknowledge));
  });

  /** The commands in Redis, none of which may read without bounds, and the requests to Supabase. */
  async function trace(conversation: Conversation, step: Step) {
    let requests: string[] = [];
    const commands = await commandsOf(stack.client, async () => {
      requests = await requestsOf(() => step(conversation));
    });
    expect(commands.filter(isUnbounded)).toEqual([]);
    expect(commands).not.toEqual([]);
    return { commands: commands.map(({ name }) => name), requests: requests.map(shapeOf) };
  }
});

describe('a flush worker of little memory', () => {
  let worker: ChildProcess | null = null;
  afterAll(async () => {
    if (worker) await kill(worker);
  });

  test(`flushes ${PENDING} pending records with 150 of a megabyte each in between`, async () => {
    await stack.client.flushall();
    const [half, large] = [PENDING / 2, 150];
    const textCache = 'x'.repeat(1_000_000);
    await remember(half, (n) => record(`small ${n % 100}`, n));
    await remember(large, (n) => record(`large ${n % 10}`, n, { textCache }));
    await remember(half, (n) => record(`small ${n % 100}`, half + n));
    expect(await pending.length()).toBe(2 * half + large);

    const started = await startWorkerProcess('flush', {
      ...stack.environment,
      SUPABASE_URL: postgrest.url, // past the proxy, which keeps what it has passed on
      NODE_OPTIONS: `--max-old-space-size=${WORKER_HEAP_MB}`,
    });
    worker = started;
    await stack.queue('flush').add('flush', { reason: 'test' });
    await eventually(async () => isOver(started) || (await pending.length()) === 0);
    expect(isOver(started)).toBe(false);
    const [row] = await postgrest.sql(
      `select count(*) filter (where context_id like 'small %')::int as small,
                count(*) filter (where context_id like 'large %')::int as large from memories`,
    );
    expect(row).toEqual({ small: 2 * half, large });
  });
});

/** Path and query of every read that `work` sends to Supabase. */
async function requestsOf(work: () => Promise<unknown>): Promise<string[]> {
  const before = proxy.requests.length;
  await work();
  return proxy.requests.slice(before).map(({ url }) => url);
}

/** A request with what differs from conversation to conversation taken out. */
function shapeOf(url: string): string {
  return url
    .replaceAll(/\b(short|long)\b/g, '<conversation>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:%A.]+Z/g, '<moment>')
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '<id>');
}

/** Whether a command reads or writes as much as there is. */
function isUnbounded({ name, args }: RanCommand): boolean {
  if (/^(HGETALL|HVALS|HKEYS|HSCAN|KEYS|SCAN|SORT)$/.test(name)) return true;
  if (/^Z(REV)?RANGE$/.test(name)) return args[2] === '-1';
  return /^(Z(REV)?RANGEBYLEX|X(REV)?RANGE)$/.test(name) && !args.some((arg) => /^(LIMIT|COUNT)$/i.test(arg));
}

type PlanNode = Record<string, unknown> & { Plans?: PlanNode[] };

function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

function isOver({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
