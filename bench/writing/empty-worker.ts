/**
 * A BullMQ worker whose jobs do nothing, to measure what the queue itself takes. It runs in a process of its own, as the chat
 * worker does, with the same kind of connection. Its arguments are the URL of Redis, the prefix of the queue and the concurrency.
 * It tells its parent when it is up.
 */
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [url = '', prefix = '', concurrency = ''] = process.argv.slice(2);
const redis = new Redis(url, { maxRetriesPerRequest: null });
const worker = new Worker('chat', async () => undefined, {
  connection: redis,
  prefix,
  concurrency: Number(concurrency),
  // Finished jobs are removed as early as those of the chat worker, because removing them is work too.
  removeOnComplete: { age: 3_600, count: 10_000 },
});
await worker.waitUntilReady();
process.send?.('up');

process.once('disconnect', () => process.exit(0));
process.once('SIGTERM', () => {
  void worker.close().finally(() => process.exit(0));
});
