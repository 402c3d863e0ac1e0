import { progressBar } from '../../cli/terminal/output.ts';
import type { MemoryCore } from '../../producers/index.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { type ResultTable, times } from '../report.ts';
import { cache } from '../writing/saving.ts';
import type { Place, Stage } from '../stage.ts';
import { median, quantile, rounded, timed } from '../statistics.ts';
import { generateTurns, take } from '../turns.ts';

const SIZES = [100, 1_000, 10_000] as const;
const SAMPLES = 200;
const LIMIT = 100;
const MAX_TOKENS = 4_000;
/** One way to read a conversation. */
const WAYS = ['cached', 'expired', 'maxTokens'] as const;
type Way = (typeof WAYS)[number];

interface Read {
  turns: number;
  medianMs: number;
  p99Ms: number;
}

interface RecallRates {
  supabase: Place['name'];
  way: Way;
  reads: Read[];
  /** The median of the largest conversation divided by the median of the smallest one. */
  ratio: number;
}

export interface RecallResult {
  samples: number;
  limit: number;
  maxTokens: number;
  rates: RecallRates[];
}

/**
 * Measures reads of the newest turns of short and long conversations: from the cache, for the first time after the cache expired
 * (the keys are deleted for that, which is safe because everything is committed), and from the cache within a token budget.
 */
export async function measureRecall(stage: Stage, scale: number): Promise<RecallResult> {
  const samples = Math.ceil(SAMPLES * scale);
  const bar = progressBar('recall, samples', samples * stage.places.length);
  let done = 0;
  const rates: RecallRates[] = [];
  for (const place of stage.places) {
    rates.push(...(await measureOn(place, stage, samples, () => bar.update(++done))));
    await stage.release();
  }
  bar.stop();
  return { samples, limit: LIMIT, maxTokens: MAX_TOKENS, rates };
}

async function measureOn(place: Place, stage: Stage, samples: number, onSample: () => void): Promise<RecallRates[]> {
  const environment = stage.newEnvironment(place);
  const memory = stage.memory(environment);
  const redis = stage.redis(environment);
  const keys = new Keys(false);
  await stage.startWorkers(environment, 'chat', 'flush');
  const queue = stage.queue('chat', environment);
  for (const size of SIZES) await cache(memory, queue, take(size, generateTurns([conversation(size)])));
  await flushAll(memory);

  const recent = async (size: number) => {
    const { items } = await memory.loadRecentContext(conversation(size), { limit: LIMIT });
    if (items.length !== LIMIT) throw new Error(`${items.length} of the ${LIMIT} newest turns came back`);
  };
  const read: Record<Way, (size: number) => Promise<number>> = {
    async expired(size) {
      const id = conversation(size);
      if (await redis.exists(keys.uncommitted(id))) throw new Error('a conversation with pending turns cannot expire');
      await redis.del(keys.conversation(id), keys.order(id), keys.refill(id));
      return timed(() => recent(size));
    },
    cached: (size) => timed(() => recent(size)),
    maxTokens: (size) => timed(() => memory.loadRecentContext(conversation(size), { maxTokens: MAX_TOKENS })),
  };
  for (const size of SIZES) for (const way of WAYS) for (let i = 0; i < 10; i++) await read[way](size);

  const measured = WAYS.map((way) => ({ way, sizes: SIZES.map((turns) => ({ turns, ms: [] as number[] })) }));
  for (let sample = 0; sample < samples; sample++) {
    for (const { way, sizes } of measured) for (const { turns, ms } of sizes) ms.push(await read[way](turns));
    onSample();
  }
  return measured.map(({ way, sizes }) => ({
    supabase: place.name,
    way,
    reads: sizes.map(({ turns, ms }) => ({
      turns,
      medianMs: rounded(median(ms)),
      p99Ms: rounded(quantile(ms, 0.99)),
    })),
    ratio: rounded(median(sizes.at(-1)?.ms ?? []) / median(sizes[0]?.ms ?? [])),
  }));
}

function conversation(size: number): string {
  return `bench-recall-${size}`;
}

async function flushAll(memory: MemoryCore): Promise<void> {
  const { success, reason } = await memory.flushRedisToSupabase();
  if (!success) throw new Error(`the flush failed: ${reason}`);
}

/** Writes the result for people. */
export function recallTable({ samples, limit, maxTokens, rates }: RecallResult): ResultTable {
  const words: Record<Way, string> = {
    cached: `newest ${limit}, cached`,
    expired: `newest ${limit}, cache expired`,
    maxTokens: `at most ${maxTokens} tokens, cached`,
  };
  return {
    title: 'Recalling a conversation',
    head: [
      `${SIZES.at(-1)} : ${SIZES[0]}`,
      'read',
      'Supabase',
      ...SIZES.map((size) => `${size} turns: median / p99 ms`),
    ],
    rows: rates.map(({ supabase, way, reads, ratio }) => [
      times(ratio),
      words[way],
      supabase,
      ...reads.map(({ medianMs, p99Ms }) => `${medianMs} / ${p99Ms}`),
    ]),
    note: `${samples} reads of each, in turn.`,
  };
}
