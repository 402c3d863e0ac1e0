import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { queryPhrases, queryTerms, textTerms, toTsquery } from '../../producers/questions/search-terms.ts';
import { tokenize } from '../../shared/records/tokens.ts';
import { eventually } from '../support/faults/eventually.ts';
import { moment } from '../support/inputs/turns.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { CHOSEN_SUPABASE } from '../support/services/supabase-service.ts';

/** What was said, in the languages of the people who say it. */
const SAID = {
  soup: ['我想在家做出夜市那種肉羹湯，要準備什麼？', '肉條、筍絲、木耳，湯底用大骨熬。'],
  palace: ['故宫博物院附近有什么酒店？', '推荐您住北京饭店，步行可到故宫。'],
  museum: ['周末想去国家博物馆看展览。', '国家博物馆在天安门广场东侧，周一闭馆。'],
  tomatoes: ['Can I grow Tomatoes on a balcony (facing southeast)?', 'Yes: cherry tomatoes like the morning sun.'],
  laptop: ['My old laptop is slow. What should I do?', 'Free some disk space first, then add memory.'],
  paris: ['"Paris" or Lyon for three days?', 'Lyon is calmer; Paris has more museums.'],
} as const;
type Name = keyof typeof SAID;

const ASKED: [query: string, Name][] = [
  ['肉羹湯', 'soup'],
  ['筍絲 木耳', 'soup'],
  ['故宫酒店', 'palace'],
  ['国家博物馆几点闭馆', 'museum'],
  ['tomatoes', 'tomatoes'],
  ['CHERRY TOMATOES', 'tomatoes'],
  ['southeast balcony', 'tomatoes'],
  ['slow laptop', 'laptop'],
  ['paris museums', 'paris'],
];

describe.each([CHOSEN_SUPABASE])('on the %s Supabase', (supabase) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ supabase });
    await stack.startWorkers();
  });
  afterAll(async () => {
    await stack.stop();
  });

  const save = async (contextId: string, userId: string, name: Name, more: object = {}) => {
    const [userMessage, assistantMessage] = SAID[name];
    const turn = { contextId, userId, userMessage, assistantMessage, ...more };
    return (await stack.memory.saveChat(turn, { wait: true })).id;
  };
  const saveAll = async (contextId: string, userId: string) => {
    const ids = new Map<string, Name>();
    for (const name of Object.keys(SAID) as Name[]) ids.set(await save(contextId, userId, name), name);
    return ids;
  };
  const found = async (options: Parameters<Stack['memory']['search']>[0]) =>
    (await stack.memory.search(options)).items.map(({ id }) => id);

  test.each(['cl100k_base', 'o200k_base'])(
    'Chinese and English are found in %s, fresh and committed',
    async (encoding) => {
      const other = await startStack({ supabase, environment: { MEMORY_ENCODING: encoding } });
      try {
        await other.startWorkers();
        const contextId = other.newContextId();
        const names = new Map<string, Name>();
        for (const [name, [userMessage, assistantMessage]] of Object.entries(SAID)) {
          const saved = await other.memory.saveChat(
            { contextId, userId: 'u', userMessage, assistantMessage },
            { wait: true },
          );
          names.set(saved.id, name as Name);
        }
        const answers = async () => {
          const scores: number[] = [];
          for (const [query, name] of ASKED) {
            const { items, complete } = await other.memory.search({ query, contextId });
            expect([query, names.get(items[0]?.id ?? ''), complete]).toEqual([query, name, true]);
            scores.push(...items.map(({ score }) => score));
          }
          return scores;
        };
        const fresh = await answers();
        await other.memory.flushRedisToSupabase();
        await other.client.flushall();
        const committed = await answers();
        expect(committed.map((score) => score.toFixed(6))).toEqual(fresh.map((score) => score.toFixed(6)));
      } finally {
        await other.stop();
      }
    },
  );

  test('records of both encodings are found beside each other', async () => {
    const contextId = stack.newContextId();
    const other = await startStack({
      supabase,
      environment: { MEMORY_ENCODING: 'o200k_base', REDIS_URL: stack.redis.url },
    });
    try {
      const here = await save(contextId, 'u', 'palace');
      await stack.memory.flushRedisToSupabase();
      const row = (await stack.supabase.from('memories').select('*').eq('id', here)).data?.[0];
      const there = randomUUID();
      const [user, assistant] = SAID.palace;
      const { id, user_id, context_id, module, created_at } = row;
      const copy = { id: there, user_id, context_id, module, created_at };
      await stack.supabase.from('memories').insert({ ...copy, tokens: tokenize({ user, assistant }, 'o200k_base') });
      expect(new Set(await found({ query: '故宫', contextId }))).toEqual(new Set([id, there]));
      expect((await other.memory.search({ query: '故宫', contextId })).items).toHaveLength(2);
    } finally {
      await other.stop();
    }
  });

  test('one user finds only what is his, and what others say moves none of his scores', async () => {
    const contextId = stack.newContextId();
    const [ann, ben] = [randomUUID(), randomUUID()];
    const anns = await saveAll(contextId, ann);
    const before = await stack.memory.search({ query: 'paris laptop 故宫', userId: ann });
    expect(new Set(before.items.map(({ id }) => anns.get(id)))).toEqual(new Set(['laptop', 'palace', 'paris']));
    for (let n = 0; n < 3; n += 1) await saveAll(contextId, ben);
    for (const when of ['fresh', 'committed']) {
      const after = await stack.memory.search({ query: 'paris laptop 故宫', userId: ann, contextId });
      expect([when, after]).toEqual([when, before]);
      if (when === 'fresh') await stack.memory.flushRedisToSupabase();
    }
    expect(await found({ query: 'paris', userId: randomUUID() })).toEqual([]);
    expect(await found({ query: 'paris', userId: ben, contextId })).toHaveLength(3);
  });

  test('a record in both tiers is found once; of equal ones the newest comes first, at most so many', async () => {
    const contextId = stack.newContextId();
    const ids: string[] = [];
    for (const minute of [1, 2, 3]) {
      ids.push(await save(contextId, 'u', 'soup', { createdAt: `2025-10-19T00:0${minute}:00Z` }));
      if (minute === 2) await stack.memory.flushRedisToSupabase();
    }
    expect(await found({ query: '肉羹湯', contextId })).toEqual(ids.toReversed());
    expect(await found({ query: '肉羹湯', contextId, limit: 2 })).toEqual(ids.toReversed().slice(0, 2));
    expect(await found({ query: '?! …', contextId })).toEqual([]);
    expect(await found({ query: 'submarine', contextId })).toEqual([]);
  });

  test('of records with the same words the one that has them together, as in the query, comes first', async () => {
    const contextId = stack.newContextId();
    const say = async (userMessage: string, n: number) => {
      const turn = { contextId, userId: 'u', userMessage, assistantMessage: 'ok', createdAt: moment(n) };
      return (await stack.memory.saveChat(turn, { wait: true })).id;
    };
    // As long, and older: by words and age alone it would come last.
    const together = await say('the bread knife is blue and old', 1);
    const apart = await say('the knife is old and bread blue', 2);
    expect(await found({ query: 'bread knife', contextId })).toEqual([together, apart]);
    await stack.memory.flushRedisToSupabase();
    expect(await found({ query: 'bread knife', contextId })).toEqual([together, apart]);
    expect(await found({ query: 'knife bread', contextId })).toEqual([apart, together]);
  });

  test('a larger conversation is searched by the index, and its rare words are found among many frequent ones', async () => {
    const contextId = stack.newContextId();
    const rows = Array.from({ length: 2_500 }, (_, n) => ({
      id: randomUUID(),
      user_id: 'many',
      context_id: contextId,
      module: 'chat',
      created_at: new Date(Date.UTC(2025, 0, 1) + n * 1000).toISOString(),
      tokens: tokenize(
        {
          user: n === 7 ? '颐和园的长廊有多长？' : `Where do we go today, and why? 你好，请推荐一家餐馆，第${n}次。`,
          assistant: n === 8 ? 'The marmalade jar is empty.' : 'We go to the park, and then we go home. 好的。',
        },
        'cl100k_base',
      ),
    }));
    for (let from = 0; from < rows.length; from += 500) {
      await stack.supabase
        .from('memories')
        .insert(rows.slice(from, from + 500))
        .throwOnError();
    }
    expect((await found({ query: 'where do we go: 颐和园长廊', contextId }))[0]).toBe(rows[7]?.id);
    expect((await found({ query: 'and the marmalade', contextId }))[0]).toBe(rows[8]?.id);
    expect(await found({ query: '餐馆 推荐', contextId })).toHaveLength(10);
  });

  test('what is erased is not found', async () => {
    const contextId = stack.newContextId();
    const user = randomUUID();
    await save(contextId, user, 'paris');
    await stack.memory.flushRedisToSupabase();
    await save(contextId, user, 'paris');
    expect(await found({ query: 'paris', userId: user })).toHaveLength(2);
    await stack.memory.forget({ userId: user });
    expect(await found({ query: 'paris', userId: user })).toEqual([]);
  });

  test('what is in quarantine is found, by everybody who may and only once', async () => {
    const contextId = stack.newContextId();
    const user = randomUUID();
    const refusal = { status: 400, body: { code: '22001', message: 'value too long' } };
    stack.proxy.fault = ({ method, url }) => (method === 'POST' && url.includes('/memories') ? refusal : null);
    const id = await save(contextId, user, 'soup');
    await stack.memory.flushRedisToSupabase();
    stack.proxy.fault = () => null;
    await eventually(async () => (await stack.memory.getStatus(id)).status === 'quarantined');
    expect(await found({ query: '肉羹湯', contextId })).toEqual([id]);
    expect(await found({ query: '肉羹湯', userId: user })).toEqual([id]);
  });

  test('with encrypted tokens there is no search, and what was encrypted before is said to be passed over', async () => {
    const contextId = stack.newContextId();
    const sealing = await startStack({ supabase, environment: { MEMORY_ENCRYPT_TOKENS: 'true' } });
    try {
      await sealing.startWorkers();
      const search = sealing.memory.search({ query: 'paris', contextId });
      await expect(search).rejects.toMatchObject({ code: 'invalid_configuration' });
      await expect(search).rejects.toThrow(/MEMORY_ENCRYPT_TOKENS/);
      const [userMessage, assistantMessage] = SAID.paris;
      await sealing.memory.saveChat({ contextId, userId: 'u', userMessage, assistantMessage }, { wait: true });
      await sealing.memory.flushRedisToSupabase();
    } finally {
      await sealing.stop();
    }
    const id = await save(contextId, 'u', 'paris');
    expect(await stack.memory.search({ query: 'paris', contextId })).toMatchObject({
      items: [{ id }],
      sealed: 1,
      complete: false,
    });
  });

  test('rows of others are no reason to refuse a record: any JSON may stand in tokens', async () => {
    const contextId = stack.newContextId();
    for (const tokens of [
      {},
      { encoding: 'x', user: [1] },
      { encoding: 'cl100k_base', user: ["it's", { a: 1 }] },
      [],
    ]) {
      const row = {
        id: randomUUID(),
        context_id: contextId,
        module: 'chat',
        created_at: '2025-01-01T00:00:00Z',
        tokens,
      };
      expect((await stack.supabase.from('memories').insert(row)).error).toBeNull();
    }
    const long = Array.from({ length: 300_000 }, (_, n) => 90_000 + (n % 10_000));
    const row = { id: randomUUID(), context_id: contextId, module: 'chat', created_at: '2025-01-01T00:00:00Z' };
    const tokens = { encoding: 'cl100k_base', user: long, assistant: long };
    expect((await stack.supabase.from('memories').insert({ ...row, tokens })).error).toBeNull();
  });
});

describe('terms', () => {
  test('words are words whatever their case; scripts without spaces are pairs of neighbours', () => {
    expect(queryTerms('Paris, PARIS 12 故宫门 を').map(({ text }) => text)).toEqual([
      'paris',
      '12',
      '故宫',
      '宫门',
      'を',
    ]);
    expect([...textTerms('Paris paris 故宫')]).toEqual([
      ['paris', 2],
      ['故宫', 1],
      ['故', 1],
      ['宫', 1],
    ]);
    expect(queryTerms('x'.repeat(3))).toHaveLength(1);
    expect(queryTerms(Array.from({ length: 100 }, (_, n) => `w${n}`).join(' '))).toHaveLength(32);
  });

  test('what stands together in a query is a phrase', () => {
    expect(queryPhrases('Cherry  tomatoes, 故宫门 酒店 a')).toEqual([
      { text: 'cherry tomatoes', terms: ['cherry', 'tomatoes'] },
      { text: '故宫门', terms: ['故宫', '宫门'] },
    ]);
  });

  test('a word is looked for as it may have been cut, ids of another encoding have another letter', () => {
    const [term] = queryTerms('tomatoes');
    const query = toTsquery(term ?? { text: '', spellings: [] }, ['cl100k_base', 'o200k_base']);
    expect(query).toMatch(/^\(c\d+( & c\d+)*\) \| .*\(o\d+/);
    expect(query.replaceAll(/[co]\d+|[ ()&|]/g, '')).toBe('');
  });
});
