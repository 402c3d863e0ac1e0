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

/** Names reflections by the jobs they come from (RFC 9562, 5.5); changing it would make a retry a second reflection. */
const JOB_NAMESPACE = '0d9e4f6c-3b0f-4c55-9d1e-6a3c1f0b7a52';
/** A model may take minutes; a worker whose jobs do not move for less is taken for stuck. */
const MOVE_MS = 10_000;

/** What a reflector is given. */
export interface ReflectorContext {
  /** The id the reflection will have: the same when the same job is tried again. */
  id: string;
  contextId: string;
  /** Whose turns these are; null for everybody's. */
  userId: string | null;
  /** Why now: so many turns, none for so long, or somebody asked. */
  reason: 'turns' | 'idle' | 'request';
  /** What whoever asked wants it to be about. */
  focus: string | null;
  /** The newest turns within the budget, oldest first. */
  messages: ContextMessage[];
  /** Their ids. */
  sourceIds: string[];
  tokenCount: number;
  maxTokens: number;
  /** The reflection before this one. */
  previous: { cid: string; text: string } | null;
}

/** Answers with the reflection's text; with nothing where there is none to make now. */
export type Reflector = (
  context: ReflectorContext,
) => Promise<string | null | undefined | void> | string | null | undefined;

export interface ReflectorParts extends Stores {
  reader: ContextReader;
  queue: (name: QueueName) => Queue;
}

/** What `reflector` jobs return. */
export interface ReflectorResult {
  /** Of the reflection, which is in queue `reflection` now; null where none came of it. */
  reflectionId: string | null;
}

type Begun = NonNullable<ReflectorJob['begun']>;

/** Any text a reflection may be. Not JSON's null, which means none. */
const answer = z.union([textOfRecord, z.null(), z.undefined()], 'a text that is not empty, or nothing');

/** Makes the worker look at a user's turns: now, or after `delay` ms. One job waits, whoever rings and however often. */
export async function ring(
  add: (data: ReflectorJob, options: object) => Promise<unknown>,
  { contextId, userId }: ReflectionOwner,
  { delay = 0, reschedule }: { delay?: number; reschedule: boolean },
): Promise<void> {
  const owner = { contextId, ...(userId !== undefined && { userId }) };
  const id = createHash('sha256')
    .update(JSON.stringify([contextId, userId ?? null]))
    .digest('hex');
  // What rings while the job is active is kept for after it.
  await add(owner, { delay, deduplication: { id, keepLastIfActive: true, reschedule } });
}

/**
 * One look at what is due: nothing yet, or the reflector is asked and its text saved the way of every reflection. A job
 * that is tried again after its text was saved saves no second one.
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
    // It waits for a person; later turns are for later reflections.
    if (failureOf(error)) await settle(null, owner, begun, parts);
    throw error;
  });
  if (text === null) return settle(null, owner, begun, parts);
  await parts.erasures.refuse(owner.userId, owner.contextId);
  await save({ ...owner, id, reflectionText: text, sourceIds: context.sourceIds }, parts);
  return settle(id, owner, begun, parts);
}

/** What is due now, by request or by policy; null where nothing is. */
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

/** There are turns, and it is not quiet for long enough yet. */
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

/** Shows that the job gets on for as long as the work takes. */
async function moving<T>(job: Job, work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => void job.updateProgress({ step: 'asked' }).catch(() => undefined), MOVE_MS);
  return work().finally(() => clearInterval(timer));
}

async function save(
  reflection: Omit<ReflectionJob, 'visibility' | 'createdAt'>,
  { queue }: ReflectorParts,
): Promise<void> {
  const data: ReflectionJob = { ...reflection, visibility: 'private', createdAt: new Date().toISOString() };
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
