/** One mistake somebody could make in the code, and the test that must see it. */
export interface Mutant {
  name: string;
  /** What would no longer be true. */
  breaks: string;
  file: string;
  /** Stands in the file exactly once. */
  text: string;
  instead: string;
  /** The test file that turns red, and which of its tests when it has many. */
  caughtBy: string;
  test?: string;
  /** It shows by waiting for ever, not by a wrong answer. */
  hangs?: true;
}

/** On PostgREST alone, where it is faster. */
const MODEL = { caughtBy: 'test/model/model.test.ts', test: 'postgrest' };
const SCRIPTS = 'shared/short-term/scripts.ts';

/** Every one is killed by its test; `npm run test:mutants` shows it. Where its text is gone, the list is out of date. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'acknowledge-before-commit',
    breaks: 'nothing leaves Redis before it is in Supabase',
    file: 'workers/steps/commit.ts',
    text: 'const result = await insert(batch, parts);',
    instead: `await acknowledge(batch.map((each) => ({ ...each, inserted: true })), parts);
  const result = await insert(batch, parts);`,
    ...MODEL,
  },
  {
    name: 'trim-takes-pending',
    breaks: 'trimming never touches an uncommitted record',
    file: SCRIPTS,
    text: "if not redis.call('ZSCORE', uncommitted, position) then",
    instead: 'if true then',
    ...MODEL,
  },
  {
    name: 'trim-keeps-floor',
    breaks: 'the cache vouches only for what it holds',
    file: SCRIPTS,
    text: "redis.call('HSET', conversation, 'floor', border)",
    instead: '',
    ...MODEL,
  },
  {
    name: 'pending-expires',
    breaks: 'an uncommitted record has no time to live',
    file: SCRIPTS,
    text: "if redis.call('EXISTS', uncommitted) == 1 then\n    redis.call('PERSIST', conversation)",
    instead: "if false then\n    redis.call('PERSIST', conversation)",
    ...MODEL,
  },
  {
    name: 'remember-leaves-ttl',
    breaks: 'an uncommitted record has no time to live',
    file: SCRIPTS,
    text: "redis.call('PERSIST', conversation)\nredis.call('PERSIST', order)\ntrim(",
    instead: 'trim(',
    ...MODEL,
  },
  {
    name: 'enough-is-complete',
    breaks: 'what Redis holds is not taken for the newest there is',
    file: SCRIPTS,
    text: "if floor and (floor == '0' or redis.call('ZLEXCOUNT', order, '[' .. floor, '+') >= limit) then complete = 1 end",
    instead: "if floor == '0' or redis.call('ZCARD', order) >= limit then complete = 1 end",
    ...MODEL,
  },
  {
    name: 'known-row-keeps-floor',
    breaks: 'after a cached copy is dropped for its row, a read asks Supabase',
    file: SCRIPTS,
    text: "redis.call('HDEL', conversation, id, 'floor')",
    instead: "redis.call('HDEL', conversation, id)",
    ...MODEL,
  },
  {
    name: 'refill-ignores-token',
    breaks: 'a refill that was overtaken by a commit does nothing',
    file: SCRIPTS,
    text: "if redis.call('GET', refill) ~= token then return 0 end",
    instead: '',
    ...MODEL,
  },
  {
    name: 'late-acknowledge-counts',
    breaks: 'a late worker leaves a record alone that is pending again',
    file: SCRIPTS,
    text: 'local again = now and now ~= entry',
    instead: 'local again = false',
    caughtBy: 'test/stores/short-term.test.ts',
    test: 'a worker that comes late',
  },
  {
    name: 'late-set-aside-counts',
    breaks: 'a late worker leaves a record alone that is pending again',
    file: SCRIPTS,
    text: 'if current(index, id) ~= entry then return end',
    instead: '',
    caughtBy: 'test/stores/short-term.test.ts',
    test: 'a worker that comes late',
  },
  {
    name: 'remember-without-guards',
    breaks: 'a repeated delivery adds nothing',
    file: SCRIPTS,
    text: `if known then return {0, redis.call('XLEN', pending), string.match(known, '^%S*'), due(reflector, userId)} end
if redis.call('HEXISTS', conversation, id) == 1 then return {0, redis.call('XLEN', pending), '', due(reflector, userId)} end`,
    instead: '',
    ...MODEL,
  },
  {
    name: 'order-by-arrival-in-redis',
    breaks: 'reads are in (createdAt, id) order',
    file: SCRIPTS,
    text: "redis.call('ZADD', order, 0, position)\nredis.call('ZADD', uncommitted, 0, position)",
    instead:
      "redis.call('ZADD', order, redis.call('XLEN', pending), position)\nredis.call('ZADD', uncommitted, 0, position)",
    ...MODEL,
  },
  {
    name: 'order-by-id-in-supabase',
    breaks: 'reads are in (createdAt, id) order',
    file: 'shared/long-term/table.ts',
    text: ".order('created_at').order('id').limit(limit)",
    instead: ".order('id').limit(limit)",
    ...MODEL,
  },
  {
    name: 'merge-without-order',
    breaks: 'reads are in (createdAt, id) order',
    file: 'shared/tiers/context-reader.ts',
    text: 'return [...byId.values()].toSorted(byPosition);',
    instead: 'return [...byId.values()];',
    ...MODEL,
  },
  {
    name: 'supabase-before-redis',
    breaks: 'a record committed during a read is in it',
    file: 'shared/tiers/context-reader.ts',
    text: `const cached = await this.#cachedAfter(contextId, position, limit, userId);
    this.#count(cached.isWhole);
    if (cached.isWhole) return cached;`,
    instead: `const early = await this.#memories.after(contextId, position, limit, userId);
    const cached = await this.#cachedAfter(contextId, position, limit, userId);
    if (cached.isWhole) return cached;
    if (early) return { isWhole: true, records: merge(cached.records, early).slice(0, limit) };`,
    ...MODEL,
  },
  {
    name: 'release-forgets',
    breaks: 'what a failed flush had in hand is taken by the next',
    file: 'shared/short-term/pending.ts',
    text: "await this.#redis.call('XCLAIM', key, PENDING_GROUP, consumer, 0, ...ids, 'IDLE', TAKEOVER_MS, 'JUSTID');",
    instead: 'await this.#redis.xack(key, PENDING_GROUP, ...ids);',
    ...MODEL,
  },
  {
    name: 'outage-blames-rows',
    breaks: 'an outage is never blamed on a row',
    file: 'shared/long-term/errors.ts',
    text: "if (isOutage(status)) return 'outage';",
    instead: "if (isOutage(status)) return 'refused';",
    ...MODEL,
  },
  {
    name: 'refusal-stops-batch',
    breaks: 'one bad record harms only itself',
    file: 'workers/steps/commit.ts',
    text: 'const second = await commit(rest, parts);',
    instead: 'const second = await commit(first.refused > 0 ? [] : rest, parts);',
    ...MODEL,
  },
  {
    name: 'id-from-the-text',
    breaks: 'an idempotency key is one record, whatever the text',
    file: 'producers/saving/new-job.ts',
    text: "newId(idempotencyKey, ['chat', given.userId, given.contextId])",
    instead: "newId(idempotencyKey, ['chat', given.userId, given.contextId, given.userMessage])",
    ...MODEL,
  },
  {
    name: 'id-from-the-clock',
    breaks: 'an idempotency key is one record, whenever it is saved',
    file: 'producers/saving/new-job.ts',
    text: 'JSON.stringify([...owner, idempotencyKey])',
    instead: 'JSON.stringify([...owner, performance.now()])',
    ...MODEL,
  },
  {
    name: 'special-tokens-special',
    breaks: 'every text is taken, whatever it says',
    file: 'shared/records/tokenizer.ts',
    text: 'encoder.encode_ordinary(piece)',
    instead: 'encoder.encode(piece)',
    ...MODEL,
  },
  {
    name: 'decode-swallows-mark',
    breaks: 'decoding gives back the text',
    file: 'shared/records/tokenizer.ts',
    text: "new TextDecoder('utf-8', { ignoreBOM: true })",
    instead: "new TextDecoder('utf-8')",
    ...MODEL,
  },
  {
    name: 'insert-overwrites',
    breaks: 'a row that is there is the truth',
    file: 'shared/long-term/table.ts',
    text: "{ onConflict: 'id', ignoreDuplicates: true }",
    instead: "{ onConflict: 'id', ignoreDuplicates: false }",
    caughtBy: 'test/processes/worker.test.ts',
    test: 'the same job twice',
  },
  {
    name: 'outage-fails-the-job',
    breaks: 'a job that an outage stops is put off, not failed',
    file: 'shared/process/queue-worker.ts',
    text: 'await putOff(job, error, logger);\n        throw new DelayedError();',
    instead: 'throw new UnrecoverableError(messageOf(error));',
    caughtBy: 'test/reflections/reflection.test.ts',
    test: 'with IPFS away is committed and readable',
  },
  {
    name: 'save-resolves-early',
    breaks: 'a save that has resolved is in Redis',
    file: 'producers/saving/saving.ts',
    text: "const queued = await parts.submission.add(queue, job, { jobId: job.id });\n  if (wait === null) return 'queued';",
    instead: `const adding = parts.submission.add(queue, job, { jobId: job.id });
  adding.catch(() => undefined);
  if (wait === null) return 'queued';
  const queued = await adding;`,
    caughtBy: 'test/saving/durability.test.ts',
    test: 'fails in bounded time and says why',
  },
  {
    name: 'search-sees-everybody',
    breaks: 'a search for one user finds no uncommitted record of another',
    file: 'producers/reading/uncommitted.ts',
    text: 'userId === undefined || record.userId === userId',
    instead: 'true',
    caughtBy: 'test/reading/search.test.ts',
    test: 'one user finds only what is his',
  },
];
