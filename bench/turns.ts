import { v7 as uuidv7 } from 'uuid';
import type { Config } from '../shared/settings/variables.ts';
import { Keyring } from '../shared/secrets/keyring.ts';
import type { ChatJob } from '../shared/records/jobs.ts';
import { type MemoryRow, toRow } from '../shared/records/records.ts';
import { newRecord } from '../shared/tiers/new-record.ts';

/** The seed. Any number would do; the same number gives the same texts in every run. */
const SEED = 20_251_019;
const FIRST_MOMENT = Date.parse('2025-10-19T00:00:00.000Z');

/** A turn with everything that a row of `memories` needs. */
export type BenchTurn = Omit<ChatJob, 'id' | 'important'>;

interface Pools {
  things: readonly string[];
  times: readonly string[];
  asks: readonly string[];
  answers: readonly string[];
  /** The number of sentences in the shortest answer; the longest has three more. English needs fewer tokens for a sentence. */
  fewest: number;
  separator: string;
}

const CHINESE: Pools = {
  fewest: 1,
  separator: '',
  things: ['陽台的番茄', '週末的行程', '報名表', '冰箱裡的剩菜', '舊筆電', '讀書計畫', '備份硬碟', '晨跑的路線'],
  times: ['今天晚上', '下週三', '月底以前', '每天早上', '這個週末', '連假的時候'],
  asks: [
    '{time}我想整理{thing}，可是不知道該從哪裡開始，你可以給我三個步驟嗎？',
    '關於{thing}，上次你建議先列清單，我列了 {n} 項，接下來呢？',
    '{thing}和{thing}只能先顧一個，{time}之前應該先做哪一個比較划算？',
    '我花了 {n} 分鐘處理{thing}，感覺沒有什麼進展，是不是方法不對？',
  ],
  answers: [
    '可以先把{thing}分成「一定要做」和「有空再做」兩堆，每堆不超過 {n} 件。',
    '{time}留半個小時就夠了，先做最小的一步，做完再決定要不要繼續。',
    '如果{thing}讓你覺得卡住，通常是因為下一步還不夠具體，試著寫下一個動詞和一個期限。',
    '建議用表格記下花的時間，過了 {n} 天再回頭看，就知道哪裡最值得調整。',
    '另外，{thing}可以跟{thing}一起處理，這樣來回只要一趟。',
    '別忘了{time}檢查一次進度，沒做完也沒關係，把剩下的往後移就好。',
  ],
};

const ENGLISH: Pools = {
  fewest: 3,
  separator: ' ',
  things: [
    'the tomato seedlings',
    'my study plan',
    'the backup drive',
    'the trip budget',
    'an old laptop',
    'the recipe',
  ],
  times: ['tonight', 'next Wednesday', 'by the end of the month', 'every morning', 'over the long weekend'],
  asks: [
    'I want to sort out {thing} {time}, but I keep putting it off. What would a first small step look like?',
    'Last time we made a list of {n} things for {thing}. Half of it is done, so what should come next?',
    'Is it better to finish {thing} first, or should I look after {thing} {time}?',
    'I spent {n} minutes on {thing} and it still looks the same. What am I doing wrong?',
  ],
  answers: [
    'Start with the part of {thing} that takes less than {n} minutes, so that you see a result right away.',
    'Write down what "done" means for {thing}; without that, every step feels equally important.',
    'You could set aside half an hour {time} and stop when it is over, even if something is left.',
    'If it still feels stuck after that, split it once more: one verb, one object, one deadline.',
    'As for {thing}, it can wait until {n} days later without any harm.',
    'Keep a short note of what worked, because we can compare it with {thing} {time}.',
  ],
};

/**
 * Generates turns of invented everyday talk without end. They are in Chinese or English, have about 150 tokens each, are spread
 * evenly over `contextIds`, and are a second apart. The same call gives the same texts.
 */
export function* generateTurns(contextIds: readonly string[]): Generator<BenchTurn, never> {
  const random = mulberry32(SEED);
  for (let index = 0; ; index++) {
    const pools = random() < 0.5 ? CHINESE : ENGLISH;
    yield {
      contextId: contextIds[index % contextIds.length] ?? '',
      userId: `bench-user-${index % 10}`,
      userMessage: paragraph(pools, pools.asks, 1, random),
      assistantMessage: paragraph(pools, pools.answers, pools.fewest + Math.floor(random() * 4), random),
      createdAt: new Date(FIRST_MOMENT + 1000 * index).toISOString(),
    };
  }
}

/** Makes the row that the chat worker and the flush would make from a turn, with a new id. */
export function toBenchRow(turn: BenchTurn, config: Config): MemoryRow {
  const { userMessage, assistantMessage, ...head } = turn;
  const keyring = config.encryptionKeys ? new Keyring(config.encryptionKeys) : null;
  const text = { user: userMessage, assistant: assistantMessage };
  return toRow(newRecord({ ...head, id: uuidv7(), module: 'chat' }, text, { config: config as never, keyring }));
}

/** Gives the next `count` values of a generator. */
export function take<T>(count: number, from: Generator<T, never>): T[] {
  return Array.from({ length: count }, () => from.next().value);
}

function paragraph(pools: Pools, sentences: readonly string[], count: number, random: () => number): string {
  const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)] ?? '';
  const fill = (sentence: string) =>
    sentence.replace(/\{(thing|time|n)\}/g, (_, slot: string) => {
      if (slot === 'n') return String(2 + Math.floor(random() * 50));
      return pick(slot === 'thing' ? pools.things : pools.times);
    });
  return Array.from({ length: count }, () => fill(pick(sentences))).join(pools.separator);
}

/** Makes a small generator of random numbers from 0 to 1 that has a seed, which Math.random has not. */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
