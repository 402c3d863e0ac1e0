/**
 * **producers/saving/**: the way from what a caller hands over to a job in a queue, and what became of that job. To
 * read records back belongs into `producers/reading/`.
 */
import type { Job } from 'bullmq';
import { MnemoqError } from '../../shared/errors.ts';
import type { ChatResult, ReflectionResult } from '../../shared/queues.ts';
import type { ChatInput, ChatJob, ReflectionJob } from '../../shared/records/jobs.ts';
import type { WithConversation } from '../../shared/records/conversation-id.ts';
import type { Undated } from '../../shared/short-term/order.ts';
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
  const wait = waitMs(options);
  const job = await admitOne(() => newChatJob(input), parts);
  return turnReceipt(job, await submit<ChatResult>('chat', job, 'cached', wait, parts));
}

/** The receipts in the order of the turns. All turns are queued before any is waited for. */
export async function saveTurns(
  inputs: readonly WithConversation<ChatInput>[],
  options: SaveOptions,
  parts: CallParts,
): Promise<{ items: Receipt[] }> {
  const wait = waitMs(options);
  const jobs = await admit(() => newChatJobs(inputs), parts);
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
export async function savePinned(
  newJob: () => Undated<ReflectionJob>,
  options: SaveOptions,
  parts: CallParts,
): Promise<Receipt> {
  const wait = waitMs(options);
  const job = await admitOne(newJob, parts);
  const ending = await submit<ReflectionResult>('reflection', job, 'pinned', wait, parts);
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
  wait: number | null,
  parts: CallParts,
): Promise<Result | string> {
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

async function admitOne<Job extends ChatJob | ReflectionJob>(
  newJob: () => Undated<Job>,
  parts: CallParts,
): Promise<Job> {
  const [job] = await admit(() => [newJob()], parts);
  return job as Job;
}

/**
 * Makes jobs, and refuses now what a worker would have to refuse after the caller was told "queued": records for a Redis that
 * is nearly full, and records of an erased user or conversation. Asks for the jobs' times before it waits for anything, so
 * that the order of calls is the order of records.
 */
async function admit<Job extends ChatJob | ReflectionJob>(
  newJobs: () => Undated<Job>[],
  { admission, erasures, order, config, metrics }: CallParts,
): Promise<Job[]> {
  const entering = async () => {
    const jobs = newJobs();
    const owners = new Map(
      jobs.map(({ userId, contextId }) => [JSON.stringify([userId, contextId]), { userId, contextId }]),
    );
    const [dated] = await Promise.all([
      order.date(jobs),
      admission.admit(),
      ...Array.from(owners.values(), ({ userId, contextId }) => erasures.refuse(userId, contextId)),
    ]);
    return dated as unknown as Job[];
  };
  return metrics.countRefusal(() => withinTime(entering(), config.redisTimeoutMs, 'saving'));
}
