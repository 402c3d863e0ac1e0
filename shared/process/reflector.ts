import { createHash } from 'node:crypto';
import type { Job, Queue } from 'bullmq';
import { v5 as uuidFromName } from 'uuid';
import { z } from 'zod';
import type { ContextReader } from '../tiers/context-reader.ts';
import { type ContextMessage, toMessages, withinBudget } from '../records/messages.ts';
import { failureOf } from './queue-worker.ts';
import type { QueueName } from '../queues.ts';
import type { MemoryRecord } from '../records/records.ts';
import { type ReflectionJob, type ReflectorJob, reflectorJob, textOfRecord } from '../records/jobs.ts';
import type { ReflectionOwner, ReflectorLook } from '../short-term/reflector-state.ts';
import type { Stores } from '../tiers/stores.ts';
import { countTokens, decodeTokens, openTokens } from '../records/tokens.ts';
import { validate } from '../validate.ts';

/**
 * Names reflections by the jobs they come from (RFC 9562, 5.5). If it changed, the retry of a job would make a second
 * reflection.
 */
const JOB_NAMESPACE = '0d9e4f6c-3b0f-4c55-9d1e-6a3c1f0b7a52';
/** How often a job shows progress: a model may take minutes, and a worker whose jobs show none for less is taken for stuck. */
const MOVE_MS = 10_000;

/** What a reflector is given to reflect on. */
export interface ReflectorContext {
  /** The id that the reflection will have. It is the same when the same job is tried again. */
  id: string;
  contextId: string;
  /** Whose turns these are; null for everybody's. */
  userId: string | null;
  /** Why the reflection is due now: there are enough turns, there was none for long enough, or somebody asked for it. */
  reason: 'turns' | 'idle' | 'request';
  /** What the reflection should be about, in the words of who asked for it. */
  focus: string | null;
  /** The newest turns within the budget, oldest first. */
  messages: ContextMessage[];
  /** The ids of these turns. */
  sourceIds: string[];
  tokenCount: number;
  maxTokens: number;
  /** The reflection before this one. */
  previous: { cid: string; text: string } | null;
}

/** Answers with the text of the reflection, or with nothing where there is no reflection to make now. */
export type Reflector = (
  context: ReflectorContext,
) => Promise<string | null | undefined | void> | string | null | undefined;

export interface ReflectorParts extends Stores {
  reader: ContextReader;
  queue: (name: QueueName) => Queue;
}

/** What `reflector` jobs return. */
export interface ReflectorResult {
  /** The id of the reflection, which is in queue `reflection` now; null where the job made none. */
  reflectionId: string | null;
}

type Begun = NonNullable<ReflectorJob['begun']>;

/** Any text that a reflection may be, or null, which means that there is none. */
const answer = z.union([textOfRecord, z.null(), z.undefined()], 'a text that is not empty, or nothing');

/** Makes the worker look at a user's turns, now or after `delay` ms. One job waits, whoever rings and however often. */
export async function ring(
  add: (data: ReflectorJob, options: object) => Promise<unknown>,
  { contextId, userId }: ReflectionOwner,
  { delay = 0, reschedule }: { delay?: number; reschedule: boolean },
): Promise<void> {
  const owner = { contextId, ...(userId !== undefined && { userId }) };
  const id = createHash('sha256')
    .update(JSON.stringify([contextId, userId ?? null]))
    .digest('hex');
  // A ring that comes while the job is active is kept until the job has ended.
  await add(owner, { delay, deduplication: { id, keepLastIfActive: true, reschedule } });
}

/**
 * Looks once at what is due. Either nothing is due yet, or the reflector is asked and its text is saved as every reflection is.
 * A job that is tried again after its text was saved does not save a second one.
 */
export async function processReflector(job: Job, reflect: Reflector, parts: ReflectorParts): Promise<ReflectorResult> {
  const { begun: before, ...owner } = validate(reflectorJob, job.data, 'the reflector job');
  await parts.erasures.refuse(owner.userId, owner.contextId);
  const id = uuidFromName(JSON.stringify([job.id, job.timestamp, owner]), JOB_NAMESPACE);
  if (before && (await parts.queue('reflection').getJob(id))) return settle(id, owner, before, parts);
  const look = await parts.reflectorState.look(owner);
  const begun = begin(look, parts) ?? before;
  if (!begun) {
    await ringLater(look, owner, parts);
    return { reflectionId: null };
  }
  await job.updateData({ ...owner, begun });
  const context = await contextOf(id, owner, begun, parts);
  if (context.messages.length === 0) return settle(null, owner, begun, parts);
  const text = await moving(job, async () => ask(reflect, context)).catch(async (error) => {
    // The failed job waits for a person. These turns are done with, and later turns are for later reflections.
    if (failureOf(error)) await settle(null, owner, begun, parts);
    throw error;
  });
  if (text === null) return settle(null, owner, begun, parts);
  await parts.erasures.refuse(owner.userId, owner.contextId);
  await save({ ...owner, id, reflectionText: text, sourceIds: context.sourceIds }, parts);
  return settle(id, owner, begun, parts);
}

/** What is due now, by request or by the policy; null where nothing is due. */
function begin({ turns, due, request, msSinceLastTurn }: ReflectorLook, { config }: ReflectorParts): Begun | null {
  const { reflectorEveryTurns: every, reflectorIdleMs: idle } = config;
  const of = (reason: Begun['reason']) => ({
    turns,
    request: request?.id ?? null,
    reason,
    focus: request?.focus ?? null,
  });
  if (request) return of('request');
  if (due === 0) return null;
  if (every > 0 && due >= every) return of('turns');
  return idle > 0 && msSinceLastTurn >= idle ? of('idle') : null;
}

/** For when there are turns, and the conversation has not been quiet for long enough yet. */
async function ringLater({ due, msSinceLastTurn }: ReflectorLook, owner: ReflectionOwner, parts: ReflectorParts) {
  const { reflectorIdleMs: idle } = parts.config;
  if (due === 0 || idle === 0) return;
  const queue = parts.queue('reflector');
  const add = async (data: ReflectorJob, options: object) => queue.add('reflector', data, options);
  await ring(add, owner, { delay: Math.max(1, idle - msSinceLastTurn), reschedule: true });
}

async function contextOf(
  id: string,
  { contextId, userId }: ReflectionOwner,
  { reason, focus }: Begun,
  parts: ReflectorParts,
): Promise<ReflectorContext> {
  const { config, keyring, reader, shortTerm } = parts;
  const reading = { contextId, userId, limit: shortTerm.limit, allowPartial: false };
  const { records } = await reader.recent(reading);
  const turns = withinBudget(
    records.filter(({ module }) => module === 'chat'),
    config.reflectorMaxTokens,
  );
  return {
    id,
    contextId,
    userId: userId ?? null,
    reason,
    focus,
    messages: turns.flatMap((turn) => toMessages(turn, keyring)),
    sourceIds: turns.slice(-1_000).map((turn) => turn.id),
    tokenCount: turns.reduce((sum, turn) => sum + countTokens(turn.tokens), 0),
    maxTokens: config.reflectorMaxTokens,
    previous: await previousOf({ contextId, userId }, parts),
  };
}

async function previousOf({ contextId, userId }: ReflectionOwner, { longTerm, keyring }: ReflectorParts) {
  const of = { module: 'reflection', contextId, userId: userId ?? null } as const;
  const [row] = await longTerm.reflections.before(of, null, 1);
  const record = row && (await longTerm.memories.find(row.id));
  return row && record ? { cid: row.cid, text: textIn(record, keyring) } : null;
}

function textIn(record: MemoryRecord, keyring: ReflectorParts['keyring']): string {
  const decoded = decodeTokens(openTokens(record.tokens, keyring, record.id));
  return 'text' in decoded ? decoded.text : '';
}

async function ask(reflect: Reflector, context: ReflectorContext): Promise<string | null> {
  return validate(answer, await reflect(context), "the reflector's answer") ?? null;
}

/** Shows progress of the job for as long as the work takes. */
async function moving<T>(job: Job, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => void job.updateProgress({ step: 'asked' }).catch(() => undefined), MOVE_MS);
  return work().finally(() => clearInterval(timer));
}

async function save(
  reflection: Omit<ReflectionJob, 'visibility' | 'createdAt'>,
  { queue, order }: ReflectorParts,
): Promise<void> {
  const [dated] = await order.date([reflection]);
  const data = { ...dated, visibility: 'private' } as ReflectionJob;
  await queue('reflection').add('reflection', data, { jobId: data.id });
}

async function settle(
  reflectionId: string | null,
  owner: ReflectionOwner,
  { turns, request }: Begun,
  { reflectorState }: ReflectorParts,
): Promise<ReflectorResult> {
  await reflectorState.settle(owner, turns, request);
  return { reflectionId };
}
