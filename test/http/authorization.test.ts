import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Api, startApi } from '../../doors/http/server.ts';
import { type Call, OpenApiClient } from '../support/clients/openapi-client.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { claims, hs256Token, type KeyServer, startKeyServer, unsignedToken } from '../support/clients/user-tokens.ts';

const [SERVICE, BOUND, SECRET] = [1, 2, 3].map(() => randomBytes(32).toString('base64url')) as [string, string, string];
const [ANN, BEN] = [randomUUID(), randomUUID()];
/** Open to everybody, by the document. */
const OPEN = /live|ready/i;
/** Only for services. */
const OPERATING = new Set(['flushRedisToSupabase', 'importKnowledge', 'getStats', 'getMetrics']);

let stack: Stack;
let api: Api;
let client: OpenApiClient;
let keyServer: KeyServer;
beforeAll(async () => {
  [stack, keyServer] = await Promise.all([startStack({ environment: { MEMORY_API_PORT: '0' } }), startKeyServer()]);
  await stack.startWorkers();
  const environment = {
    ...stack.environment,
    MEMORY_API_KEYS: `ops:${SERVICE},web@${BEN}:${BOUND}`,
    SUPABASE_JWT_SECRET: SECRET,
    SUPABASE_JWKS_URL: keyServer.url,
    MEMORY_RATE_LIMIT_PER_MINUTE: '0',
  };
  api = await startApi(environment, '1.0.0');
  client = await OpenApiClient.of(api.url);
});
afterAll(async () => {
  await api.stop();
  keyServer.stop();
  await stack.stop();
});

const WAIT = { prefer: 'wait=20' };

/** What is Ann's. */
interface Owned {
  contextId: string;
  turnId: string;
  reflectionId: string;
  cid: string;
  cursor: string;
}

async function saveAsAnn(): Promise<Owned> {
  const contextId = stack.newContextId();
  const body = { context_id: contextId, user_id: ANN };
  const said = { user_message: 'a secret', assistant_message: 'kept' };
  const save = async () => client.call('saveChat', { key: SERVICE, body: { ...body, ...said }, headers: WAIT });
  const { id: turnId } = (await save()).json as { id: string };
  await save();
  const reflection = { ...body, reflection_text: 'a secret' };
  const reflected = await client.call('saveReflection', { key: SERVICE, body: reflection, headers: WAIT });
  const page = { key: SERVICE, path: { context_id: contextId }, query: { limit: 1 } };
  const { next_cursor: cursor } = (await client.call('getMemoryContext', page)).json as { next_cursor: string };
  const { id: reflectionId, cid } = reflected.json as { id: string; cid: string };
  return { contextId, turnId, reflectionId, cid, cursor };
}

/** A call of every operation that would work on what is Ann's. */
function callsOf({ contextId, turnId, cid }: Owned): Record<string, Call> {
  const path = { context_id: contextId };
  const texts = { context_id: contextId, text: 'x' };
  const range = { from: '2025-01-01T00:00:00Z', to: '2025-02-01T00:00:00Z', bucket: 'day' };
  return {
    saveChat: { body: { context_id: contextId, user_id: BEN, user_message: 'x', assistant_message: 'y' } },
    saveReflection: { body: { context_id: contextId, reflection_text: 'x' } },
    requestReflection: { body: { context_id: contextId } },
    saveFinetuneOutput: { body: texts },
    saveKnowledge: { body: texts },
    getMemoryContext: { path },
    loadRecentContext: { path },
    getReflections: { path },
    getReflectionCid: { path },
    inspect: { path: { id: turnId } },
    getStatus: { path: { id: turnId } },
    verify: { path: { cid } },
    listReflections: {},
    traceReflection: { path: { reflection: cid } },
    listConversations: {},
    listKnowledge: {},
    search: { query: { query: 'secret' } },
    getTrends: { query: range },
    exportTrainingData: { query: { format: 'openai' } },
    forgetContext: { path: { context_id: stack.newContextId() } },
    forgetUser: { path: { user_id: BEN } },
    flush: { body: {} },
    importKnowledge: { body: { cid } },
    getStats: {},
    getMetrics: {},
  };
}

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const STRANGERS: [name: string, key: () => Promise<string | null>][] = [
  ['no key', async () => null],
  ['a wrong key', async () => `${SERVICE}x`],
  ['an expired token', async () => hs256Token(SECRET, claims(BEN, { exp: inSeconds(-60) }))],
  ['a token without a signature', async () => unsignedToken(claims(BEN))],
  ['a token for another audience', async () => hs256Token(SECRET, claims(BEN, { aud: 'elsewhere' }))],
  ['a token of another secret', async () => hs256Token(randomBytes(32).toString('hex'), claims(BEN))],
  ['a token signed with the public key', async () => hs256Token(keyServer.publicPem, claims(BEN))],
  ['a service_role token', async () => hs256Token(SECRET, claims(BEN, { role: 'service_role' }))],
  ['an anon token', async () => hs256Token(SECRET, claims(BEN, { role: 'anon' }))],
];

describe.each(STRANGERS)('with %s', (_name, keyOf) => {
  test('every operation is refused, the open ones are not', async () => {
    const key = await keyOf();
    const calls = callsOf({
      contextId: 'c',
      turnId: randomUUID(),
      reflectionId: randomUUID(),
      cid: 'bafy',
      cursor: '',
    });
    for (const id of client.operationIds.filter((each) => each !== 'followEvents')) {
      const { status } = await client.call(id, { key, ...calls[id] });
      expect([id, status]).toEqual([id, OPEN.test(id) ? 200 : 401]);
    }
  });
});

const BENS: [name: string, key: () => Promise<string>][] = [
  ['a bound key', async () => BOUND],
  ['an HS256 token', async () => hs256Token(SECRET, claims(BEN))],
  ['a token of the project’s own keys', async () => keyServer.sign(claims(BEN))],
];

describe.each(BENS)('with %s of one user', (_name, keyOf) => {
  let key: string;
  let anns: Owned;
  beforeAll(async () => {
    [key, anns] = [await keyOf(), await saveAsAnn()];
  });

  test('every operation works, but for those of services', async () => {
    const saved = await client.call('saveReflection', {
      key,
      body: { context_id: stack.newContextId(), reflection_text: 'mine' },
      headers: WAIT,
    });
    const { id, cid } = saved.json as { id: string; cid: string };
    const calls: Record<string, Call> = {
      ...callsOf(anns),
      inspect: { path: { id } },
      getStatus: { path: { id } },
      verify: { path: { cid } },
      traceReflection: { path: { reflection: cid } },
      forgetUser: { path: { user_id: ANN } }, // tried below, and not his
    };
    for (const operation of client.operationIds.filter((each) => each !== 'followEvents')) {
      const { status } = await client.call(operation, { key, ...calls[operation] });
      const refused = OPERATING.has(operation) || operation === 'forgetUser';
      expect([operation, refused ? status === 403 : status < 300]).toEqual([operation, true]);
    }
  });

  test('what is another’s is answered as what is not there', async () => {
    anns = await saveAsAnn(); // into the other conversation he has written meanwhile
    const nothing: Owned = {
      contextId: stack.newContextId(),
      turnId: randomUUID(),
      reflectionId: randomUUID(),
      cid: 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy',
      cursor: anns.cursor,
    };
    const answersFor = async ({ contextId, turnId, reflectionId, cid, cursor }: Owned) => {
      const path = { context_id: contextId };
      const answers = [
        await client.call('getMemoryContext', { key, path }),
        await client.call('getMemoryContext', { key, path, query: { cursor } }),
        await client.call('loadRecentContext', { key, path, query: { max_tokens: 1000, format: 'tokens' } }),
        await client.call('getReflections', { key, path }),
        await client.call('getReflectionCid', { key, path }),
        await client.call('inspect', { key, path: { id: turnId } }),
        await client.call('inspect', { key, path: { id: reflectionId } }),
        await client.call('getStatus', { key, path: { id: turnId } }),
        await client.call('getStatus', { key, path: { id: reflectionId } }),
        await client.call('verify', { key, path: { cid } }),
        await client.call('listReflections', { key, query: { context_id: contextId } }),
        await client.call('listReflections', { key, query: { cid } }),
        await client.call('traceReflection', { key, path: { reflection: cid } }),
        await client.call('traceReflection', { key, path: { reflection: reflectionId } }),
        await client.call('listConversations', { key, query: { prefix: contextId } }),
        await client.call('search', { key, query: { query: 'a secret', context_id: contextId } }),
        await client.call('exportTrainingData', { key, query: { format: 'openai', context_id: contextId } }),
      ];
      const ids = [contextId, turnId, reflectionId, cid];
      const neutral = (text: string) => ids.reduce((rest, id) => rest.replaceAll(id, '…'), text);
      return answers.map(({ status, text }) => [status, neutral(text).replace(/"request_id":"[^"]*"/, '')]);
    };
    expect(await answersFor(anns)).toEqual(await answersFor(nothing));
  });

  test('another user cannot be named: not in a query, a body or a path', async () => {
    const query = { user_id: ANN };
    const { contextId, turnId, cid } = anns;
    const path = { context_id: contextId };
    const named: [string, Call][] = [
      ['getMemoryContext', { path, query }],
      ['loadRecentContext', { path, query }],
      ['getReflections', { path, query }],
      ['getReflectionCid', { path, query }],
      ['inspect', { path: { id: turnId }, query }],
      ['getStatus', { path: { id: turnId }, query }],
      ['verify', { path: { cid }, query }],
      ['listReflections', { query }],
      ['traceReflection', { path: { reflection: cid }, query }],
      ['search', { query: { ...query, query: 'secret' } }],
      ['listConversations', { query }],
      ['listKnowledge', { query }],
      ['getTrends', { query: { ...query, ...callsOf(anns)['getTrends']?.query } }],
      ['exportTrainingData', { query: { ...query, format: 'tokens' } }],
      ['forgetContext', { path, query }],
      ['forgetUser', { path: { user_id: ANN } }],
      ...['saveChat', 'saveReflection', 'requestReflection', 'saveFinetuneOutput', 'saveKnowledge'].map(
        (id): [string, Call] => [id, { body: { ...(callsOf(anns)[id]?.body as object), user_id: ANN } }],
      ),
    ];
    for (const [id, call] of named) expect([id, (await client.call(id, { key, ...call })).status]).toEqual([id, 403]);
  });

  test('a record’s id cannot be claimed', async () => {
    for (const id of ['saveChat', 'saveReflection', 'saveFinetuneOutput', 'saveKnowledge']) {
      const body = { ...(callsOf(anns)[id]?.body as object), id: randomUUID() };
      const { status, json } = await client.call(id, { key, body });
      expect([id, status, (json as { problems: { field: string }[] }).problems[0]?.field]).toEqual([id, 400, 'id']);
    }
  });

  test('erasing a conversation takes his records and leaves those of others', async () => {
    const body = { context_id: anns.contextId, user_message: 'mine', assistant_message: 'yours' };
    await client.call('saveChat', { key, body, headers: WAIT });
    const path = { context_id: anns.contextId };
    const receipt = await client.call('forgetContext', { key, path });
    expect(receipt).toMatchObject({ status: 200, json: { scope: { user_id: BEN } } });
    const left = (await client.call('getMemoryContext', { key: SERVICE, path })).json as {
      items: { user_id: string }[];
    };
    expect(left.items.map(({ user_id }) => user_id)).toEqual([ANN, ANN, ANN]);
  });
});
