import { MODEL, type Mutant } from './mutant.ts';

const SCRIPTS = 'shared/short-term/scripts.ts';

/** What Redis holds of a conversation, and what a read makes of it and of Supabase. */
export const SHORT_TERM: readonly Mutant[] = [
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
];
