/**
 * **producers/saving/**: the way from what a caller hands over to a job in a queue, and what became of that job. To
 * read records back belongs into `producers/reading/`.
 */
import type { Job } from 'bullmq';
import { MnemoqError } from '../../shared/errors.ts';
import type { ChatResult, ReflectionResult } from '../../shared/queues.ts';
import type { ChatInput, ChatJob, ReflectionJob } from '../../shared/records/jobs.ts';
import type { WithConversation } from '../../shared/records/conversation-id.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { newChatJob, newChatJobs } from './new-job.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { type Receipt, receiptOf, type SaveOptions, waitMs } from './receipt.ts';
import type { Ending } from '../parts/submission.ts';

export async function saveTurn(
  input: WithConversation<ChatInput>,
  options: SaveOptions,
  parts: CallParts,
): Promise<Receipt> {
  const job = await parts.metrics.countRefusal(() => newChatJob(input));
  return turnReceipt(job, await submit<ChatResult>('chat', job, 'cached', options, parts));
}

/** The receipts in the order of the turns. All turns are queued before any is waited for. */
export async function saveTurns(
  inputs: readonly WithConversation<ChatInput>[],
  options: SaveOptions,
  parts: CallParts,
): Promise<{ items: Receipt[] }> {
  const jobs = await parts.metrics.countRefusal(() => newChatJobs(inputs));
  const wait = waitMs(options);
  await admit(jobs, parts);
  const adding = parts.submission.addAll(
    'chat',
    jobs.map((data) => ({ data, jobId: data.id })),
  );
  const queued = await adding;
  const endings = await Promise.all(queued.map((job) => endingOf<ChatResult>('chat', job, 'cached', wait, parts)));
  return { items: jobs.map((job, i) => turnReceipt(job, endings[i] ?? 'queued')) };
}

function turnReceipt(job: ChatJob, ending: ChatResult | string): Receipt {
  if (typeof ending === 'string') return receiptOf(job, { note: ending });
  const { supabaseStored, tokenCount } = ending;
  const note = supabaseStored ? 'committed' : 'cached; committed by the next flush';
  return receiptOf(job, { tokenCount, supabaseStored, note });
}

/** Saves a reflection, a fine-tune output or a knowledge item. */
export async function savePinned(job: ReflectionJob, options: SaveOptions, parts: CallParts): Promise<Receipt> {
  const ending = await submit<ReflectionResult>('reflection', job, 'pinned', options, parts);
  if (typeof ending === 'string') return receiptOf(job, { note: ending });
  const { cid, tokenCount } = ending;
  return receiptOf(job, { tokenCount, cid, supabaseStored: true, note: 'committed and pinned' });
}

/**
 * Puts the job into its queue and waits for its result when the caller asks for that. Gives a note in words when there
 * is no result yet.
 */
async function submit<Result>(
  queue: 'chat' | 'reflection',
  job: ChatJob | ReflectionJob,
  done: string,
  options: SaveOptions,
  parts: CallParts,
): Promise<Result | string> {
  const wait = waitMs(options);
  await admit([job], parts);
  const queued = await parts.submission.add(queue, job, { jobId: job.id });
  return endingOf(queue, queued, done, wait, parts);
}

async function endingOf<Result>(
  queue: 'chat' | 'reflection',
  queued: Job,
  done: string,
  wait: number | null,
  { submission }: CallParts,
): Promise<Result | string> {
  if (wait === null) return 'queued';
  const ending: Ending<Result> | null = await submission.ending(queue, queued, wait);
  if (!ending) return `queued; not seen ${done} within ${wait} ms, it will be`;
  if ('result' in ending) return ending.result;
  throw new MnemoqError('invalid_input', `the worker refused it: ${ending.failedReason}`);
}

/**
 * Refuses now what a worker would have to refuse after the caller was told "queued": records for a Redis that is nearly
 * full, and records of an erased user or conversation.
 */
async function admit(jobs: readonly (ChatJob | ReflectionJob)[], parts: CallParts): Promise<void> {
  const { admission, erasures, config, metrics } = parts;
  const looking = async () => {
    await admission.admit();
    const owners = new Map(
      jobs.map(({ userId, contextId }) => [JSON.stringify([userId, contextId]), { userId, contextId }]),
    );
    await Promise.all([...owners.values()].map(({ userId, contextId }) => erasures.refuse(userId, contextId)));
  };
  await metrics.countRefusal(() => withinTime(looking(), config.redisTimeoutMs, 'saving'));
}
