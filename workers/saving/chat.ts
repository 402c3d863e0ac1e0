/**
 * **workers/saving/**: the workers of the queues `chat` and `reflection`. A saved text becomes a record, and a reflection
 * becomes a pinned document as well.
 */
import type { ChatResult } from '../../shared/queues.ts';
import { type ChatJob, chatJob } from '../../shared/records/jobs.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import type { Remembered } from '../../shared/short-term/short-term.ts';
import { activeTraceparent } from '../../shared/telemetry/tracing.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { commit } from '../steps/commit.ts';
import { requestFlush } from '../steps/flush-schedule.ts';
import { remember } from '../steps/remember.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';
import { askReflector } from './reflection-policy.ts';

/** One turn: validate, tokenize, remember, acknowledge. An important turn is committed before it is acknowledged. */
export async function processChat(data: unknown, parts: WorkerParts): Promise<ChatResult> {
  const turn = validateSave(chatJob, data, 'the chat job');
  const record = tokenizeTurn(turn, parts);
  const remembered = await remember(record, parts);
  await askReflector(turn, remembered, parts);
  const isCommitted = isImportant(turn, parts)
    ? await commitNow(record, remembered, parts)
    : await leaveToFlush(remembered, parts);
  return acknowledge(record, isCommitted);
}

function tokenizeTurn(turn: ChatJob, parts: WorkerParts): MemoryRecord {
  const { id, contextId, userId, createdAt, userMessage, assistantMessage } = turn;
  const text = { user: userMessage, assistant: assistantMessage };
  return newRecord({ id, contextId, userId, createdAt, module: 'chat' }, text, parts);
}

function isImportant(turn: ChatJob, { config }: WorkerParts): boolean {
  return turn.important === true || config.writeMode === 'immediate';
}

/**
 * False when Supabase does not take the record now; then the record is pending and a flush is asked for. A repeated delivery
 * has no entry of its own once the first delivery is through. Inserting its record again changes nothing, and the answer says
 * whether Supabase has it.
 */
async function commitNow(record: MemoryRecord, { entry }: Remembered, parts: WorkerParts): Promise<boolean> {
  const outcome = await commit([{ record, entry, traceparent: activeTraceparent() }], parts);
  if (outcome.failure) await requestFlush('important', parts);
  return outcome.committed === 1;
}

/** Asks for a flush once in every `flushMaxPending` records, so that a growing backlog does not ask with every record. */
async function leaveToFlush({ added, pendingLength }: Remembered, parts: WorkerParts): Promise<false> {
  const isTooMany = added && pendingLength % parts.config.flushMaxPending === 0;
  if (isTooMany) await requestFlush('too-many-pending', parts);
  return false;
}

/** The job's result, which the producer turns into the receipt of a save that was waited for. */
function acknowledge(record: MemoryRecord, isCommitted: boolean): ChatResult {
  return { tokenCount: countTokens(record.tokens), supabaseStored: isCommitted };
}
