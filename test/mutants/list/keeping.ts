import type { Mutant } from './mutant.ts';

const ERASURE = 'producers/keeping/erasure.ts';
const REKEYING = 'producers/keeping/rekeying.ts';

/** What is done to records long after they were saved: erased, and sealed with another key. */
export const KEEPING: readonly Mutant[] = [
  {
    name: 'erasure-leaves-no-mark',
    breaks: 'what comes late for an erased user is refused',
    file: ERASURE,
    text: 'await parts.erasures.add(scope, erasedAt);',
    instead: '',
    caughtBy: 'test/keeping/erasure.test.ts',
    test: 'what comes late is refused',
  },
  {
    name: 'erasure-passes-jobs-over',
    breaks: 'no job of an erased user is left in a queue',
    file: ERASURE,
    text: 'tiers.jobs = await eraseJobs(scope, parts);',
    instead: '',
    caughtBy: 'test/keeping/erasure.test.ts',
    test: 'a user is gone from every store',
  },
  {
    name: 'erasure-leaves-pins',
    breaks: 'what an erased user had pinned is unpinned',
    file: ERASURE,
    text: 'if (await ipfs.unpin(cid)) tiers.unpinned += 1;',
    instead: 'tiers.unpinned += 1;',
    caughtBy: 'test/keeping/erasure.test.ts',
    test: 'a user is gone from every store',
  },
  {
    name: 'erasure-overtakes-flush',
    breaks: 'a flush that has records in hand brings none of them back after an erasure',
    file: ERASURE,
    text: 'await awaitFlushes(parts);',
    instead: '',
    caughtBy: 'test/keeping/erasure-beside-flush.test.ts',
  },
  {
    name: 'late-turn-of-erased-user',
    breaks: 'the script that remembers a record looks whether its user was erased',
    file: 'shared/short-term/scripts.ts',
    text: "if redis.call('HEXISTS', erased, 'conversation:' .. contextId) + redis.call('HEXISTS', erased, 'user:' .. userId) > 0 then",
    instead: "if redis.call('HEXISTS', erased, 'conversation:' .. contextId) > 0 then",
    caughtBy: 'test/keeping/erasure.test.ts',
    test: 'what comes late is refused',
  },
  {
    name: 'rekey-without-wrapped-keys',
    breaks: 'the keys of pinned documents are wrapped anew as well',
    file: REKEYING,
    text: 'for (const tasks of [this.#sealed.wrappedKeys(), this.#sealed.records()]) {',
    instead: 'for (const tasks of [this.#sealed.records()]) {',
    caughtBy: 'test/keeping/rekey.test.ts',
    test: 'reaches rows, wrapped keys',
  },
  {
    name: 'rekey-without-quarantine',
    breaks: 'rows in quarantine are sealed anew as well',
    file: 'producers/keeping/resealing.ts',
    text: "yield rows.map((row) => this.#recordTask('quarantine', row, row.exchange));",
    instead: 'yield rows.flatMap(() => []);',
    caughtBy: 'test/keeping/rekey.test.ts',
    test: 'reaches rows, wrapped keys',
  },
  {
    name: 'rekey-overwrites-changes',
    breaks: 'a cached record that was changed since it was read stays as it is',
    file: 'producers/keeping/sealed-cache.ts',
    text: "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end",
    instead: '',
    caughtBy: 'test/keeping/rekey.test.ts',
    test: 'what is changed or goes between reading and writing',
  },
  {
    name: 'rekey-brings-back',
    breaks: 'a row that was changed since it was read stays as it is',
    file: 'shared/long-term/sealed-rows.ts',
    text: "if (before.textCache === null) query = query.is('text_cache', null);",
    instead: "if (before.textCache !== null) query = query.not('id', 'is', null);",
    caughtBy: 'test/keeping/rekey.test.ts',
    test: 'what is erased or changed between reading and writing',
  },
];
