import { expect } from '@jest/globals';
import * as fc from 'fast-check';
import type { FlushOutcome } from '../../workers/flush/flush.ts';
import { eventually } from '../support/faults/eventually.ts';
import type { Bench } from './bench.ts';
import { always, command, type ModelCommand, pick } from './command.ts';
import { FAULTS, faultsFor, isDeaf } from './faults.ts';
import type { Model } from './model.ts';

const which = fc.nat({ max: 1000 });
const batchSize = fc.integer({ min: 1, max: 4 });

/** Flushes with nothing in the way, which must take everything. */
export async function flushAll(model: Model, bench: Bench, batchSize: number): Promise<void> {
  const pending = model.where((record) => record.pending).length;
  const outcome = await bench.flush(batchSize);
  expect(outcome).toMatchObject({ success: true, failure: null, totalPending: pending });
  model.settle(await bench.look(), { ...outcome, whole: true, deaf: false });
}

const flush = command('flush', fc.record({ batchSize }), always, (model, bench, { batchSize }) =>
  flushAll(model, bench, batchSize),
);

const flushTwice = command(
  'twoFlushesAtOnce',
  fc.record({ batchSize }),
  always,
  async (model, bench, { batchSize }) => {
    const [a, b] = await Promise.all([bench.flush(batchSize), bench.flush(batchSize)]);
    expect([a.success, b.success]).toEqual([true, true]);
    const sum = (of: (outcome: FlushOutcome) => number) => of(a) + of(b);
    model.settle(await bench.look(), {
      whole: true,
      deaf: false,
      flushedCount: sum(({ flushedCount }) => flushedCount),
      failedCount: sum(({ failedCount }) => failedCount),
    });
  },
);

const flushPartly = command(
  'flushStoppedHalfWay',
  fc.record({ batchSize: fc.integer({ min: 1, max: 2 }), batches: fc.integer({ min: 1, max: 2 }) }),
  always,
  async (model, bench, { batchSize, batches }) => {
    const outcome = await bench.flush(batchSize, batches);
    expect(outcome.success).toBe(true);
    model.settle(await bench.look(), { ...outcome, whole: false, deaf: false });
  },
);

const flushFails = command(
  'flushThatFails',
  fc.record({ fault: fc.constantFrom(...FAULTS), batchSize, passed: fc.nat({ max: 2 }) }),
  (model) => model.where(({ pending }) => pending).length > 0,
  async (model, bench, { fault, batchSize, passed }) => {
    const { faults, hits } = faultsFor(fault, passed);
    bench.failSupabase(faults);
    const outcome = await bench.flush(batchSize);
    bench.healSupabase();
    expect(outcome.success).toBe(hits() === 0);
    model.settle(await bench.look(), { ...outcome, whole: hits() === 0, deaf: isDeaf(fault) });
  },
);

const hold = command(
  'flushWorkerStandsStill',
  fc.record({ batchSize, at: fc.constantFrom<('before' | 'after')[]>('before', 'after') }),
  (model) => model.held === null && model.where(({ pending }) => pending).length > 0,
  async (model, bench, { batchSize, at }) => {
    const batch = (await bench.hold(batchSize, at)).map((id) => model.find(id));
    expect(batch.length).toBeGreaterThan(0);
    expect(batch.every(({ pending }) => pending)).toBe(true);
    model.held = batch.map(({ id, spoiled }) => ({ id, spoiled, due: true }));
    if (at === 'after' && !batch.some(({ spoiled }) => spoiled)) {
      for (const record of batch) record.row = true;
    }
  },
);

const resume = command('flushWorkerGoesOn', fc.constant(null), isHeld, async (model, bench) => {
  const outcome = await bench.resume();
  expect(outcome).toMatchObject({ failure: null, left: [] });
  model.settleHeld();
});

const bury = command('flushWorkerDies', fc.constant(null), isHeld, async (model, bench) => {
  await bench.bury();
  model.held = null;
});

function isHeld(model: Readonly<Model>): boolean {
  return model.held !== null;
}

const spoilable = (model: Readonly<Model>) =>
  model.where(({ id, pending, quarantined }) => pending && !quarantined && !model.held?.some((held) => held.id === id));

const spoil = command(
  'spoil',
  which,
  (model) => spoilable(model).length > 0,
  async (model, bench, number) => {
    const record = pick(spoilable(model), number);
    await bench.spoil(record.contextId, record.id);
    record.spoiled = true;
  },
);

const retriable = (model: Readonly<Model>) =>
  model.where(({ id, quarantined }) => quarantined && !model.held?.some((held) => held.id === id));

const retry = command(
  'retryFromQuarantine',
  fc.record({ number: which, mended: fc.boolean() }),
  (model) => retriable(model).length > 0,
  async (model, bench, { number, mended }) => {
    const record = pick(retriable(model), number);
    const job = await bench.stack.queue('quarantine').getJob(record.id);
    const row = mended ? { ...job?.data.row, text_cache: null } : undefined;
    const [retried] = await Promise.all([
      bench.stack.memory.retryQuarantined(record.id, { row }),
      eventually(() => bench.quarantine()),
    ]);
    expect(retried).toMatchObject({ committed: mended });
    if (mended) Object.assign(record, { row: true, aside: false, quarantined: false, spoiled: false });
  },
);

/** The steps by which records leave Redis, and how often each is chosen beside the others. */
export const FLUSHING: [weight: number, step: fc.Arbitrary<ModelCommand>][] = [
  [2, flush],
  [1, flushPartly],
  [1, flushTwice],
  [2, flushFails],
  [3, hold],
  [2, resume],
  [1, bury],
  [1, spoil],
  [1, retry],
];
