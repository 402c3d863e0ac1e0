import type { Redis } from 'ioredis';
import { progressBar } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { toCursor } from '../../producers/reading/context.ts';
import { ContextReader } from '../../shared/tiers/context-reader.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { connectLongTerm } from '../../shared/long-term/long-term.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { ShortTerm } from '../../shared/short-term/short-term.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { generateRecords, rememberAll } from '../writing/pending-record.ts';
import { type ResultTable, times } from '../report.ts';
import type { Place, Stage } from '../stage.ts';
import { median, quantile, rounded, timed } from '../statistics.ts';
import { take } from '../turns.ts';

const SHORT = 100;
const SAMPLES = 200;
const WARM_UP = 10;
const LIMIT = 20;
const MAX_TOKENS = 2_000;
/**
 * The part of the committed turns that is added as uncommitted ones. There are more of them in the short conversation, because a
 * conversation of a hundred turns in all would be cached as a whole.
 */
const UNCOMMITTED_PART = 0.05;
const BATCH = 500;

interface Read {
  turns: number;
  medianMs: number;
  p99Ms: number;
}

interface ReadRates {
  supabase: Place['name'];
  read: string;
  /** The median of the long conversation divided by the median of the short one. */
  ratio: number;
  reads: Read[];
}

export interface LongConversationResult {
  samples: number;
  turns: number;
  rates: ReadRates[];
}

/** One conversation that is read. */
interface Conversation {
  contextId: string;
  turns: number;
  cursors: { middle: string; last: string };
}

/**
 * Measures reads of one conversation of very many turns beside one of a hundred turns, alternately. It reads the newest turns from
 * the cache, within a token budget, and after the cache expired, and then the first, the middle and the last page. At the end it
 * reads everything with a twentieth more turns that are not committed.
 */
export async function measureLongConversation(stage: Stage, turns: number): Promise<LongConversationResult> {
  const rates: ReadRates[] = [];
  for (const place of stage.places) {
    for (const part of [0, UNCOMMITTED_PART]) rates.push(...(await measureOn(place, stage, turns, part)));
    await stage.release();
  }
  return { samples: SAMPLES, turns, rates };
}

async function measureOn(place: Place, stage: Stage, turns: number, part: number): Promise<ReadRates[]> {
  const environment = stage.newEnvironment(place);
  const redis = stage.redis(environment);
  const conversations: Conversation[] = [];
  for (const size of [SHORT, turns]) conversations.push(await fill(environment, redis, size, part));

  const measured = Object.entries(readsOf(stage.memory(environment), redis, part)).map(([name, read]) => ({
    name,
    read,
    ms: conversations.map(() => [] as number[]),
  }));
  const bar = progressBar(`reads on ${place.name}`, SAMPLES);
  for (let sample = -WARM_UP; sample < SAMPLES; sample++) {
    for (const { read, ms } of measured) {
      for (const [i, conversation] of conversations.entries()) {
        const tookMs = await read(conversation);
        if (sample >= 0) ms[i]?.push(tookMs);
      }
    }
    bar.update(Math.max(0, sample + 1));
  }
  bar.stop();
  return measured.map(({ name, ms }) => ({
    supabase: place.name,
    read: part === 0 ? name : `${name}, ${100 * part} % more uncommitted`,
    ratio: rounded(median(ms[1] ?? []) / median(ms[0] ?? [])),
    reads: conversations.map(({ turns }, i) => ({
      turns,
      medianMs: rounded(median(ms[i] ?? [])),
      p99Ms: rounded(quantile(ms[i] ?? [], 0.99)),
    })),
  }));
}

async function fill(
  environment: Record<string, string>,
  redis: Redis,
  turns: number,
  part: number,
): Promise<Conversation> {
  const contextId = `bench-long-${turns}-${part}`;
  const config = loadConfig(environment, ['supabaseUrl', 'supabaseServiceRoleKey']);
  const longTerm = connectLongTerm(config);
  const shortTerm = new ShortTerm(redis, new Keys(false), { limit: config.shortTermLimit, ttlSeconds: 172_800 });
  const records = generateRecords(environment, [contextId]);
  const uncommitted = Math.round(turns * part);
  const bar = progressBar(`${turns} turns`, turns);
  let middle: MemoryRecord | undefined;
  for (let done = 0; done < turns; done += BATCH) {
    const batch = take(Math.min(BATCH, turns - done), records);
    const { failure } = await longTerm.memories.insert(batch);
    if (failure) throw new Error(`filling Supabase failed: ${failure.message}`);
    middle ??= done + batch.length > turns / 2 ? batch[Math.floor(turns / 2) - done] : undefined;
    bar.update(done + batch.length);
  }
  await rememberAll(shortTerm, records, uncommitted);
  bar.stop();
  const newest = await new ContextReader(shortTerm, longTerm.memories).recent({
    contextId,
    limit: LIMIT + 1,
    userId: undefined,
    allowPartial: false,
  });
  const [last] = newest.records;
  if (!middle || !last) throw new Error(`a conversation of ${turns} turns is too short to measure`);
  return { contextId, turns, cursors: { middle: toCursor(middle), last: toCursor(last) } };
}

type Reads = Record<string, (conversation: Conversation) => Promise<number>>;

function readsOf(memory: MemoryCore, redis: Redis, part: number): Reads {
  const keys = new Keys(false);
  const recent = async (contextId: string) => {
    const { items } = await memory.loadRecentContext(contextId, { limit: LIMIT });
    if (items.length !== LIMIT) throw new Error(`${items.length} of the ${LIMIT} newest turns came back`);
  };
  const page = async (contextId: string, cursor?: string) => {
    const { items: records } = await memory.getMemoryContext(contextId, { limit: LIMIT, ...(cursor && { cursor }) });
    if (records.length !== LIMIT) throw new Error(`a page of ${records.length} records came back`);
  };
  // A conversation with an uncommitted record does not expire. When its floor is lost, a read goes to Supabase just the same.
  const expire = async (contextId: string) => {
    await redis.del(keys.refill(contextId));
    if (part === 0) await redis.del(keys.conversation(contextId), keys.order(contextId));
    else await redis.hdel(keys.conversation(contextId), 'floor');
  };
  return {
    [`newest ${LIMIT}, ${part === 0 ? 'expired' : 'floor unknown'}`]: async ({ contextId }) => {
      await expire(contextId);
      return timed(() => recent(contextId));
    },
    [`newest ${LIMIT}, cached`]: ({ contextId }) => timed(() => recent(contextId)),
    [`at most ${MAX_TOKENS} tokens`]: ({ contextId }) =>
      timed(() => memory.loadRecentContext(contextId, { limit: LIMIT, maxTokens: MAX_TOKENS })),
    'first page': ({ contextId }) => timed(() => page(contextId)),
    'middle page': ({ contextId, cursors }) => timed(() => page(contextId, cursors.middle)),
    'last page': ({ contextId, cursors }) => timed(() => page(contextId, cursors.last)),
  };
}

/** Writes the result for people. */
export function longConversationTable({ samples, turns, rates }: LongConversationResult): ResultTable {
  return {
    title: 'One long conversation',
    head: [
      `${turns} turns : ${SHORT}`,
      'read',
      'Supabase',
      ...[SHORT, turns].map((size) => `${size} turns: median / p99 ms`),
    ],
    rows: rates.map(({ ratio, read, supabase, reads }) => [
      times(ratio),
      read,
      supabase,
      ...reads.map(({ medianMs, p99Ms }) => `${medianMs} / ${p99Ms}`),
    ]),
    note: `${samples} reads of each, in turn; pages of ${LIMIT}.`,
  };
}
