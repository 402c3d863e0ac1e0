import { Worker } from 'bullmq';
import type { QueueName } from '../../../shared/queues.ts';
import type { Stack } from '../services/stack.ts';
import { eventually } from './eventually.ts';

/** BullMQ takes a job from a dead worker when two of its looks have found it without a lock. */
const LOOK_MS = 50;
const MOST_STALLED = 100;

/**
 * What half a minute and more does after a worker has died: the locks of the jobs it had in hand run out, and BullMQ, which
 * looks for such jobs every 30 s, puts them back into their queue. No other worker of the queue may have a job in hand.
 */
export async function lapseLocks({ client, redis }: Stack, name: QueueName): Promise<void> {
  const active = await client.lrange(`bull:${name}:active`, 0, -1);
  await client.del(`bull:${name}:stalled-check`, ...active.map((id) => `bull:${name}:${id}:lock`));
  const connection = { host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: null };
  const options = { connection, autorun: false, stalledInterval: LOOK_MS, maxStalledCount: MOST_STALLED };
  const looking = new Worker(name, null, options);
  looking.on('error', () => undefined);
  try {
    await looking.startStalledCheckTimer();
    await eventually(async () => (await client.llen(`bull:${name}:active`)) === 0);
  } finally {
    await looking.close();
  }
}

/** What a minute does after a flush worker has died: others may take the pending records that it had in hand. */
export async function lapseTakeover({ client }: Stack): Promise<void> {
  const held = (await client.xpending('memory:pending', 'flush', '-', '+', 10_000)) as [string, string][];
  for (const [entry, consumer] of held) {
    await client.call('XCLAIM', 'memory:pending', 'flush', consumer, 0, entry, 'IDLE', 120_000, 'JUSTID');
  }
}
