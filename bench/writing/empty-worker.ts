/**
 * A BullMQ worker whose jobs do nothing: what the queue itself takes. In its own process, as the chat worker is, with
 * the same kind of connection. Arguments: Redis URL, queue prefix, concurrency. Tells its parent when it is up.
 */
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

const [url = '', prefix = '', concurrency = ''] = process.argv.slice(2);
const redis = new Redis(url, { maxRetriesPerRequest: null });
const worker = new Worker('chat', async () => undefined, {
  connection: redis,
  prefix,
  concurrency: Number(concurrency),
  // Finished jobs go as early as the chat worker's: removing them is work too.
  removeOnComplete: { age: 3_600, count: 10_000 },
});
await worker.waitUntilReady();
process.send?.('up');

process.once('disconnect', () => process.exit(0));
process.once('SIGTERM', () => {
  void worker.close().finally(() => process.exit(0));
});
