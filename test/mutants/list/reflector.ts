import type { Mutant } from './mutant.ts';

const REFLECTOR_FILE = 'shared/process/reflector.ts';
const caughtBy = 'test/reflections/reflector.test.ts';

/** When a reflection is due, of which turns it is, and that one job makes one. */
export const REFLECTOR: readonly Mutant[] = [
  {
    name: 'reflector-sends-everybodys-turns',
    breaks: "only the user's own turns are sent to be reflected on",
    file: REFLECTOR_FILE,
    text: 'const reading = { contextId, userId, limit: shortTerm.limit, allowPartial: false };',
    instead: 'const reading = { contextId, userId: undefined, limit: shortTerm.limit, allowPartial: false };',
    caughtBy,
    test: 'each user of a conversation is counted alone',
  },
  {
    name: 'reflector-asks-twice',
    breaks: 'a job that is taken up again after its text was saved saves no second one',
    file: REFLECTOR_FILE,
    text: "if (before && (await parts.queue('reflection').getJob(id))) return settle(id, owner, before, parts);",
    instead: '',
    caughtBy,
    test: 'the job taken up again saves no second one',
  },
  {
    name: 'reflector-never-settles',
    breaks: 'the turns of a reflection are due only once',
    file: REFLECTOR_FILE,
    text: 'await reflectorState.settle(owner, turns, request);',
    instead: '',
    caughtBy,
    test: 'every so many turns of a user',
  },
  {
    name: 'reflector-without-budget',
    breaks: 'a reflector is sent no more tokens than its budget',
    file: REFLECTOR_FILE,
    text: "records.filter(({ module }) => module === 'chat'),\n    config.reflectorMaxTokens,",
    instead: "records.filter(({ module }) => module === 'chat'),\n    Infinity,",
    caughtBy,
    test: 'within the budget of tokens',
  },
  {
    name: 'reflector-rings-once',
    breaks: 'a repeated delivery rings again for what is due',
    file: 'workers/saving/reflection-policy.ts',
    text: 'if (turnsDue === 0) return;',
    instead: 'if (turnsDue === 0 || !remembered.added) return;',
    caughtBy,
    test: 'the repeated delivery rings',
  },
];
