import { setTimeout as sleep } from 'node:timers/promises';
import type { Queue } from 'bullmq';
import { messageOf } from '../../shared/errors.ts';
import { EventFeed } from '../../shared/short-term/event-feed.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';
import type { Delivery } from './webhook-delivery.ts';

/**
 * While this many deliveries wait, further events stay in their stream, whose size is bounded. Otherwise an endpoint that is
 * away would fill Redis up.
 */
const MOST_WAITING = 10_000;
/** Events dispatched between two looks at how many deliveries wait. */
const LOOK_EVERY = 100;
/** Pause between two looks while too many deliveries wait, and after Redis refused something. */
const PAUSE_MS = 1_000;

/**
 * Makes a delivery of every event, beginning with the first start of a webhook worker. It keeps its place in Redis after each
 * event, so another worker goes on there when this one dies. An event that is taken twice has the same job id both times and
 * stays one delivery.
 */
export async function dispatchEvents(stopping: AbortSignal, parts: WorkerParts): Promise<void> {
  const { redis, keys, logger } = parts;
  const feed = new EventFeed(redis, keys);
  await redis.set(keys.webhookCursor, await feed.now(), 'NX');
  const goOn = async () => {
    while (!stopping.aborted) {
      await dispatch(feed, stopping, parts).catch((error) => logger.warn({ reason: messageOf(error) }, 'dispatching'));
      await pause(stopping);
    }
  };
  void goOn();
}

async function dispatch(feed: EventFeed, signal: AbortSignal, { redis, keys, queue }: WorkerParts): Promise<void> {
  const deliveries = queue('webhook');
  const place = (await redis.get(keys.webhookCursor)) ?? undefined;
  let count = 0;
  for await (const { event, cursor } of feed.follow({ cursor: place, signal })) {
    if (count % LOOK_EVERY === 0) await awaitRoom(deliveries, signal);
    if (signal.aborted) return;
    const delivery: Delivery = { ...event, id: event.id ?? `missed-${cursor}` };
    await deliveries.add('webhook', delivery, { jobId: delivery.id });
    await redis.set(keys.webhookCursor, cursor);
    count += 1;
  }
}

async function awaitRoom(deliveries: Queue, signal: AbortSignal): Promise<void> {
  while ((await deliveries.getJobCountByTypes('waiting', 'delayed', 'active')) >= MOST_WAITING) {
    if (signal.aborted) return;
    await pause(signal);
  }
}

/** Ends early when the worker stops. */
async function pause(signal: AbortSignal): Promise<void> {
  await sleep(PAUSE_MS, null, { signal }).catch(() => undefined);
}
