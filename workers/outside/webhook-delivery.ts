/**
 * **workers/outside/**: the workers that call somebody else's server: webhooks and the reflector.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, type Queue, UnrecoverableError } from 'bullmq';
import { Webhook } from 'standardwebhooks';
import type { ConfigWith } from '../../shared/settings/config.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import { EventFeed, type Followed } from '../../shared/short-term/events.ts';
import { toSnake } from '../../shared/snake-case.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

export type WebhookConfig = ConfigWith<'webhookUrl' | 'webhookSecret'>;

/** Standard Webhooks advises 15 to 30 s. */
const TIMEOUT_MS = 15_000;
/** An endpoint that is away for longer gets no more of an event. */
const GIVE_UP_MS = 86_400_000;
/**
 * While so many deliveries wait, events stay where they are, in a stream of bounded size: an endpoint that is away must not
 * fill Redis up.
 */
const MOST_WAITING = 10_000;
const LOOK_EVERY = 100;
/** Between two looks while too many wait, and after Redis refused something. */
const PAUSE_MS = 1_000;

/**
 * Makes a job of every event from the first start of a webhook worker on. It keeps its place after each, so that one that
 * dies goes on there; an event it takes twice has the same job id and stays one delivery.
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
  const after = (await redis.get(keys.webhookCursor)) ?? undefined;
  let count = 0;
  for await (const { event, cursor } of feed.follow({ after, signal })) {
    if (count % LOOK_EVERY === 0) await awaitRoom(deliveries, signal);
    if (signal.aborted) return;
    const id = event.id ?? `missed-${cursor}`;
    await deliveries.add('webhook', { ...event, id }, { jobId: id });
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

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(PAUSE_MS, null, { signal }).catch(() => undefined); // cut short when it stops
}

type Delivery = Omit<Followed['event'], 'id'> & { id: string };

/**
 * Sends one event, signed as Standard Webhooks has it. Where trying again may help it throws, and the job is put off; what
 * no repeat can mend ends it. Neither the address nor what it answered is repeated in an error: both may be secret.
 */
export async function deliver(
  job: Pick<Job<Delivery>, 'data' | 'timestamp'>,
  { webhookUrl, webhookSecret }: WebhookConfig,
): Promise<{ status: number }> {
  const { id } = job.data;
  const body = JSON.stringify(toSnake(job.data));
  const now = new Date();
  const refusal = await post(webhookUrl, body, {
    'content-type': 'application/json',
    'user-agent': 'mnemoq',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Webhook(webhookSecret).sign(id, now, body),
  });
  if (typeof refusal === 'number' && refusal >= 200 && refusal < 300) return { status: refusal };
  const reason = typeof refusal === 'number' ? `the endpoint answered ${refusal}` : `no answer: ${refusal}`;
  if (!mayPass(refusal)) throw new UnrecoverableError(reason);
  if (now.getTime() - job.timestamp > GIVE_UP_MS) throw new UnrecoverableError(`given up after a day: ${reason}`);
  throw new MnemoqError('timeout', reason);
}

/** The status of the answer, or why there is none. */
async function post(url: string, body: string, headers: Record<string, string>): Promise<number | string> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal });
    await response.body?.cancel().catch(() => undefined);
    return response.status;
  } catch (error) {
    const { name, cause } = error as Error;
    return (cause as NodeJS.ErrnoException | undefined)?.code ?? name;
  }
}

function mayPass(refusal: number | string): boolean {
  return typeof refusal === 'string' || refusal >= 500 || refusal === 408 || refusal === 429;
}
