import { MODEL, type Mutant } from './mutant.ts';

/** What a save promises: that it is in Redis, under which id, and with which text. */
export const SAVING: readonly Mutant[] = [
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
    name: 'save-resolves-early',
    breaks: 'a save that has resolved is in Redis',
    file: 'producers/saving/saving.ts',
    text: `const queued = await parts.submission.add(queue, job, { jobId: job.id });
  return endingOf(queue, queued, done, wait, parts);`,
    instead: `const adding = parts.submission.add(queue, job, { jobId: job.id });
  adding.catch(() => undefined);
  if (wait === null) return 'queued';
  return endingOf(queue, await adding, done, wait, parts);`,
    caughtBy: 'test/saving/acknowledgement.test.ts',
    test: 'resolves when Redis has the job',
  },
  {
    name: 'bulk-resolves-early',
    breaks: 'turns that are saved together are all in Redis when the save has resolved',
    file: 'producers/saving/saving.ts',
    text: 'const queued = await adding;',
    instead: `adding.catch(() => undefined);
  const queued = wait === null ? [] : await adding;`,
    caughtBy: 'test/saving/acknowledgement.test.ts',
    test: 'saveChats',
  },
  {
    name: 'full-redis-takes-all',
    breaks: 'saves are refused while Redis is nearly full',
    file: 'producers/parts/admission.ts',
    text: 'if (percent <= this.#maxUsedPercent) return;',
    instead: 'if (percent <= 100) return;',
    caughtBy: 'test/saving/durability.test.ts',
    test: 'is refused while Redis is nearly full',
  },
  {
    name: 'full-redis-stays-full',
    breaks: 'saves are taken again when there is room again',
    file: 'producers/parts/admission.ts',
    text: 'if (!this.#checked || Date.now() - this.#checked.at > FRESH_MS) {',
    instead: 'if (!this.#checked || usedPercent(await this.#checked.memory) <= this.#maxUsedPercent) {',
    caughtBy: 'test/saving/durability.test.ts',
    test: 'is refused while Redis is nearly full',
  },
  {
    name: 'room-is-not-made',
    breaks: 'what Supabase has as well makes room in a full Redis',
    file: 'workers/flush/upkeep.ts',
    text: 'const dropped = await dropCopies(parts, enough);',
    instead: 'const dropped = Number(await enough());',
    caughtBy: 'test/saving/upkeep.test.ts',
    test: 'what Supabase has as well makes room',
  },
  {
    name: 'order-by-the-clock-alone',
    breaks: 'what one producer saves in sequence is read in that sequence',
    file: 'shared/short-term/order.ts',
    text: 'then first = last + 1 end',
    instead: 'then first = now end',
    caughtBy: 'test/reading/order.test.ts',
  },
  {
    name: 'one-time-for-a-whole-call',
    breaks: 'turns that are saved in one call are read in their order, whatever their ids are',
    file: 'shared/short-term/order.ts',
    text: 'fromMicroseconds(first + index)',
    instead: 'fromMicroseconds(first)',
    caughtBy: 'test/reading/order.test.ts',
  },
];
