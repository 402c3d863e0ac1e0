/** One long form of the tests: a program of its own, or test files that jest runs. */
export interface Form {
  name: string;
  /** What is true when it has passed. */
  shows: string;
  /** What it usually takes on two idle cores. */
  minutes: number;
  /** It is ended when it takes longer; without a number `limitOf` gives it one. */
  limitMinutes?: number;
  /** A program with its arguments, or test files; those outside `test/deep/` are ones that `npm test` runs as well. */
  run: { program: readonly string[] } | { tests: readonly string[]; forcesExit?: true };
  environment?: Readonly<Record<string, string>>;
}

/**
 * Every form, in the order in which they run. `--minutes` takes them in this order as well, so what finds most in the least
 * time stands first. Each file in `test/deep/` belongs to exactly one form; `test/house/deep.test.ts` looks after that.
 */
export const FORMS: readonly Form[] = [
  {
    name: 'chaos',
    shows: 'nothing is lost, doubled or out of order while every part is killed, stopped and cut off for eight minutes',
    minutes: 10,
    limitMinutes: 25,
    run: { program: ['test/chaos/main.ts'] },
  },
  {
    name: 'cluster',
    shows: 'nothing is lost and workers go on when nodes of a Redis Cluster are killed and others take over',
    minutes: 1,
    // A worker whose node hung while it waited for a job may keep timers for ever, after it was told to stop and has given up
    // its connections. What the tests say is complete by then.
    run: { tests: ['test/deep/cluster.test.ts'], forcesExit: true },
  },
  {
    name: 'kills',
    shows: 'what killed workers and servers had in hand is done once, in the time that BullMQ and Redis take for it',
    minutes: 4,
    run: { tests: ['test/deep/kills.test.ts', 'test/deep/outages.test.ts'] },
  },
  {
    name: 'package',
    shows: 'the packed package is installed, imported, compiled against and run',
    minutes: 1,
    run: { tests: ['test/deep/package.test.ts'] },
  },
  {
    name: 'commands',
    shows:
      'mnemoq dev, a demo of a broken memory, a large import and a collector that is away work from beginning to end',
    minutes: 3,
    run: {
      tests: [
        'test/deep/dev.test.ts',
        'test/deep/demo.test.ts',
        'test/deep/import.test.ts',
        'test/deep/tracing.test.ts',
      ],
    },
  },
  {
    name: 'screenshots',
    shows: 'the pictures of the dashboard can still be made',
    minutes: 1,
    run: { program: ['scripts/screenshots.mjs', '--discard'] },
  },
  {
    name: 'model',
    shows: 'ten times as many random sequences of steps as in npm test agree with the plain model',
    minutes: 3,
    run: { tests: ['test/model/model.test.ts'] },
    environment: { MODEL_RUNS: '250' },
  },
  {
    name: 'limits',
    shows:
      'the benchmark of large backlogs, long conversations and many records runs to its end at a tenth of its sizes',
    minutes: 4,
    run: { program: ['bench/limits.ts', '--pending', '100000', '--turns', '10000', '--records', '100000'] },
  },
  {
    name: 'backlog',
    shows: 'a flush worker with a heap of 96 MB gets through 10,000 records with 150 of a megabyte each in between',
    minutes: 1,
    run: { tests: ['test/saving/limits.test.ts'] },
    environment: { LIMITS_PENDING: '10000' },
  },
  {
    name: 'embedded',
    shows: 'everything that npm test runs on PostgREST holds on the embedded Supabase as well',
    minutes: 6,
    run: {
      tests: [
        'test/keeping/archive.test.ts',
        'test/keeping/erasure.test.ts',
        'test/keeping/rekey.test.ts',
        'test/keeping/restore.test.ts',
        'test/model/model.test.ts',
        'test/reading/odd-ids.test.ts',
        'test/reading/reads.test.ts',
        'test/reading/search.test.ts',
        'test/reading/training-data.test.ts',
        'test/reading/trends.test.ts',
        'test/reflections/knowledge-import.test.ts',
        'test/reflections/provenance.test.ts',
        'test/reflections/reflection.test.ts',
        'test/saving/chat.test.ts',
        'test/saving/flush.test.ts',
        'test/saving/other-modules.test.ts',
      ],
    },
    environment: { MNEMOQ_TEST_SUPABASE: 'embedded' },
  },
  {
    name: 'mutants',
    shows: 'each known mistake in the code turns a test of npm test red',
    minutes: 20,
    limitMinutes: 90,
    run: { program: ['test/mutants/main.ts'] },
  },
];

/** A machine under load may take three times as long; starting Redis and both Supabases takes a while even for a short form. */
export function limitOf({ minutes, limitMinutes }: Form): number {
  return limitMinutes ?? 3 * minutes + 5;
}
