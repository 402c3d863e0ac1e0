import { type Job, UnrecoverableError } from 'bullmq';
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { ConfigWith } from '../../shared/settings/config.ts';
import type { Followed } from '../../shared/short-term/event-feed.ts';
import { validate } from '../../shared/validate.ts';
import { mayPass, signedPost } from './signed-post.ts';

export type WebhookConfig = ConfigWith<'webhookUrl' | 'webhookSecret'>;

/** Standard Webhooks advises 15 to 30 s. */
const TIMEOUT_MS = 15_000;
/** An endpoint that is away for longer than a day never gets the event. */
const GIVE_UP_MS = 86_400_000;

/** Data of a job in queue `webhook`. Unlike an event, a delivery always has an id. */
export type Delivery = Omit<Followed['event'], 'id'> & { id: string };

/** What a delivery needs of its job, which any client may have added. The id stands in a header. */
const delivery = z.looseObject({ id: z.string().regex(/^[!-~]{1,1000}$/, 'printable ASCII without spaces') });

/**
 * Sends one event to the endpoint. When another try may help, it throws `timeout` and the job is put off; otherwise the job
 * fails. Errors repeat neither the address nor the answer, because both may be secret.
 */
export async function deliver(
  { data, timestamp }: Pick<Job<Delivery>, 'data' | 'timestamp'>,
  { webhookUrl, webhookSecret }: WebhookConfig,
): Promise<{ status: number }> {
  validate(delivery, data, 'the webhook job');
  const outcome = await signedPost({ url: webhookUrl, secret: webhookSecret, timeoutMs: TIMEOUT_MS }, data);
  const { status } = outcome;
  if (status !== null && status >= 200 && status < 300) return { status };
  const reason = outcome.status === null ? `no answer: ${outcome.reason}` : `the endpoint answered ${outcome.status}`;
  if (!mayPass(status)) throw new UnrecoverableError(reason);
  if (Date.now() - timestamp > GIVE_UP_MS) throw new UnrecoverableError(`given up after a day: ${reason}`);
  throw new MnemoqError('timeout', reason);
}
