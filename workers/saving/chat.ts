/**
 * **workers/saving/**: the workers of the queues `chat` and `reflection`: a saved text becomes a record, and a reflection
 * a pinned document.
 */
import { newRecord } from '../../shared/tiers/new-record.ts';
import { type ChatJob, chatJob } from '../../shared/records/records.ts';
import type { ChatResult } from '../../shared/queues.ts';
import type { Remembered } from '../../shared/short-term/short-term.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import { activeTraceparent } from '../../shared/telemetry/tracing.ts';
import { validate } from '../../shared/validate.ts';
import { commit } from '../steps/commit.ts';
import { requestFlush } from '../steps/flush-schedule.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';
import { askReflector } from './reflection-policy.ts';
import { remember } from '../steps/remember.ts';

/** One turn: validate, tokenize, remember; commit at once when it matters, else leave it to the flush. */
export async function processChat(data: unknown, parts: WorkerParts): Promise<ChatResult> {
  const turn = validate(chatJob, data, 'the chat job');
  const { id, contextId, userId, createdAt } = turn;
  const text = { user: turn.userMessage, assistant: turn.assistantMessage };
  const record = newRecord({ id, contextId, userId, createdAt, module: 'chat' }, text, parts);
  const remembered = await remember(record, parts);
  await askReflector(turn, remembered, parts);
  const result = { tokenCount: countTokens(record.tokens), supabaseStored: false };
  if (commitsAtOnce(turn, parts)) {
    // A repeated delivery finds no entry when the first one is through: inserting again changes nothing and tells.
    const pending = { record, entry: remembered.entry, traceparent: activeTraceparent() };
    const outcome = await commit([pending], parts);
    if (outcome.failure) await requestFlush('important', parts);
    return { ...result, supabaseStored: outcome.committed === 1 };
  }
  if (tooManyPending(remembered, parts)) await requestFlush('too-many-pending', parts);
  return result;
}

function commitsAtOnce(turn: ChatJob, { config }: WorkerParts): boolean {
  return turn.important === true || config.writeMode === 'immediate';
}

/** True for one record in every `flushMaxPending`, so that a growing backlog asks for a flush without asking every time. */
function tooManyPending({ added, pendingLength }: Remembered, { config }: WorkerParts): boolean {
  return added && pendingLength % config.flushMaxPending === 0;
}
