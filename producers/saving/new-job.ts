import { v5 as uuidFromName, v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import {
  type ChatInput,
  type ChatJob,
  chatInput,
  type FinetuneInput,
  finetuneInput,
  type KnowledgeInput,
  knowledgeInput,
  type ReflectionInput,
  type ReflectionJob,
  reflectionInput,
  TEXT_BYTES,
} from '../../shared/records/jobs.ts';
import type { PinnedModule } from '../../shared/records/records.ts';
import { validateSave, validateSaves, type WithConversation } from '../../shared/records/conversation-id.ts';
import type { Undated } from '../../shared/short-term/order.ts';
import { listOf } from '../../shared/validate.ts';

/** The namespace of Mnemoq for name-based UUIDs (RFC 9562, 5.5). Another value would change every derived id. */
const IDEMPOTENCY_NAMESPACE = '5f0f7a4e-1f0e-4a51-9a6b-6d1f0c7e2b3d';

/**
 * Turns saved in one transaction. All other clients of Redis wait meanwhile, and this many take some tens of
 * milliseconds.
 */
export const TURNS_AT_ONCE = 1_000;
/** Bytes of UTF-8 of all texts in one transaction. Redis ends a connection at a gigabyte, which is far more. */
export const TURNS_BYTES = 16 * 1024 * 1024;

/** Refuses an id beside an idempotency key, because each of the two would give the record an id of its own. */
function withOneId<T extends z.ZodType<{ id?: string | undefined; idempotencyKey?: string | undefined }>>(input: T): T {
  return input.superRefine(({ id, idempotencyKey }, context) => {
    if (id === undefined || idempotencyKey === undefined) return;
    const path = ['idempotencyKey'];
    context.addIssue({ code: 'custom', path, message: 'nothing beside an id', input: idempotencyKey });
  });
}

/** A turn as a caller may save it. */
export const turnInput = withOneId(chatInput);
// A text that is too long by itself counts as little more than the limit, so that only its own field is named in the error.
const turnsInput = listOf(turnInput, TURNS_AT_ONCE).refine(
  (turns) => turns.reduce((sum, turn) => sum + Math.min(bytesOf(turn), 2 * TEXT_BYTES), 0) <= TURNS_BYTES,
  `texts of at most ${TURNS_BYTES} bytes of UTF-8 together`,
);

/**
 * Checks what a caller wants to save and makes a job of it. The job gets an id where the caller gives none.
 */
export function newChatJob(input: WithConversation<ChatInput>): Undated<ChatJob> {
  return toChatJob(validateSave(turnInput, input, 'the turn'));
}

/** Does the same for many turns. In an error the index of the wrong turn stands before the field. */
export function newChatJobs(inputs: readonly WithConversation<ChatInput>[]): Undated<ChatJob>[] {
  return validateSaves(turnsInput, inputs, 'the turns', TURNS_AT_ONCE).map(toChatJob);
}

/** How many of the TURNS_BYTES a turn takes. */
export function bytesOf({
  userMessage,
  assistantMessage,
}: Pick<ChatInput, 'userMessage' | 'assistantMessage'>): number {
  return Buffer.byteLength(userMessage) + Buffer.byteLength(assistantMessage);
}

function toChatJob({ idempotencyKey, ...given }: z.output<typeof chatInput>): Undated<ChatJob> {
  const id = given.id ?? newId(idempotencyKey, ['chat', given.userId, given.contextId]);
  return { ...given, id };
}

export function newReflectionJob(input: WithConversation<ReflectionInput>): Undated<ReflectionJob> {
  return toPinnedJob('reflection', validateSave(withOneId(reflectionInput), input, 'the reflection'));
}

export function newFinetuneJob(input: WithConversation<FinetuneInput>): Undated<ReflectionJob> {
  const { text: reflectionText, ...given } = validateSave(withOneId(finetuneInput), input, 'the fine-tune output');
  return { ...toPinnedJob('finetune', { ...given, reflectionText }), module: 'finetune' };
}

export function newKnowledgeJob(input: WithConversation<KnowledgeInput>): Undated<ReflectionJob> {
  const { text: reflectionText, ...given } = validateSave(withOneId(knowledgeInput), input, 'the knowledge item');
  return { ...toPinnedJob('knowledge', { ...given, reflectionText, visibility: 'public' }), module: 'knowledge' };
}

function toPinnedJob(
  module: PinnedModule,
  { idempotencyKey, ...given }: z.output<typeof reflectionInput>,
): Undated<ReflectionJob> {
  const id = given.id ?? newId(idempotencyKey, [module, given.userId ?? '', given.contextId]);
  return { ...given, id, visibility: given.visibility ?? 'private' };
}

/**
 * A new id, in time order. With an idempotency key it is always the same id for the same key, owner and conversation.
 */
function newId(idempotencyKey: string | undefined, owner: readonly string[]): string {
  return idempotencyKey === undefined
    ? uuidv7()
    : uuidFromName(JSON.stringify([...owner, idempotencyKey]), IDEMPOTENCY_NAMESPACE);
}
