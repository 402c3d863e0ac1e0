import { z } from 'zod';
import { MODULES, PINNED_MODULES } from '../../../shared/records/records.ts';
import type { Page, Reflection, Verification } from '../../../producers/index.ts';
import type { KnowledgeItem } from '../../../producers/reflections/knowledge.ts';
import type { Trace } from '../../../producers/reflections/provenance.ts';
import type { ReflectionRequestReceipt } from '../../../producers/reflections/reflecting.ts';
import type { ListedReflection, ReflectionPage } from '../../../producers/reflections/reflections.ts';
import { contextId, createdAt, id, listOf, named, time, userId } from './fields.ts';

const sha256 = z
  .string()
  .describe('Of the text, hexadecimal: SHA-256, or for a private one HMAC-SHA-256 under its own key.');
const reflectionFields = z
  .strictObject({
    id,
    userId,
    cid: z.string().describe('Its address on IPFS, computed before it is pinned.'),
    sha256,
    signature: z.string().describe('Ed25519, base64url.'),
    visibility: z.enum(['private', 'public']).describe('Whether the document on IPFS is encrypted.'),
    sourceIds: z.array(z.string()).describe('The records it was made from.'),
    previousCid: z
      .string()
      .nullable()
      .describe('The one of the same module, conversation and user before it; null where there was none.'),
    pinnedAt: time('ISO 8601, UTC; null while the pin is still to come.'),
    createdAt,
  })
  .describe('A reflection, a fine-tune output or a knowledge item, without its text.') satisfies z.ZodType<Reflection>;
const listedReflectionFields = reflectionFields
  .extend({
    contextId,
    module: z.enum(PINNED_MODULES).describe('What kind of record it is.'),
    previousMissing: z
      .boolean()
      .nullable()
      .describe('Whether the one before it is not there any more; null where there was none before.'),
  })
  .describe('A reflection, a fine-tune output or a knowledge item, without its text.');
const reflectionIndexFields = z.strictObject(listOf(listedReflectionFields, 'Newest first.')) satisfies z.ZodType<
  Page<ListedReflection>
>;
export const reflectionIndex = named('ReflectionIndex', reflectionIndexFields, 'A page of the index of reflections.');
const reflectionPageFields = reflectionIndexFields.extend({ contextId }) satisfies z.ZodType<ReflectionPage>;
export const reflectionPage = named('ReflectionPage', reflectionPageFields, "A page of a conversation's reflections.");

const source = z
  .strictObject({
    id,
    missing: z.boolean().describe('Whether it is not there any more; then nothing else is known of it.'),
    contextId: z.string().nullable().describe('The conversation.'),
    userId,
    module: z.enum(MODULES).nullable().describe('What kind of record it is.'),
    createdAt: time('ISO 8601, UTC.'),
  })
  .describe('A record it was made from.');
const link = z
  .strictObject({
    cid: z.string().describe('Its address on IPFS.'),
    missing: z.boolean().describe('Whether it is not there any more; the chain ends here.'),
    reflection: listedReflectionFields.nullable().describe('The reflection; null when it is missing.'),
    sources: z.array(source).describe('In the order of its source_ids.'),
  })
  .describe('A link of the chain.');
const traceFields = z.strictObject(
  listOf(
    link,
    'Newest first: the one asked for, the one before it, and so on.',
    'False when a link or a source of one is missing.',
  ),
) satisfies z.ZodType<Trace>;
export const trace = named('Trace', traceFields, 'Where a reflection comes from.');

const newestCidFields = z.strictObject({
  contextId,
  cid: z.string().nullable().describe('Of the newest pinned reflection; null when there is none.'),
});
export const newestCid = named('NewestCid', newestCidFields, "The address of a conversation's newest reflection.");

const askedFields = z.strictObject({
  success: z.literal(true).describe('Always true: what is refused is answered with a problem.'),
  id: z.string().meta({ description: "The request's own UUID.", format: 'uuid' }),
  contextId,
  userId: z.string().nullable().describe("Whose turns are reflected on; null for everybody's."),
  note: z.string().describe('What happened so far, in words.'),
}) satisfies z.ZodType<ReflectionRequestReceipt>;
export const askedReflection = named('AskedReflection', askedFields, 'What asking for a reflection gives.');

const verificationFields = z.strictObject({
  cid: z.string().describe('What was checked.'),
  ok: z.boolean().describe('True when every check holds.'),
  checks: z
    .array(
      z.strictObject({
        name: z
          .enum(['fetched', 'cid', 'document', 'signature', 'key', 'row', 'digest', 'record', 'tokens'])
          .describe('Which link of the chain.'),
        ok: z.boolean().describe('Whether it holds.'),
        detail: z.string().describe('What was found, in words.'),
      }),
    )
    .describe('In order; after one on which the rest depends has failed, the rest is missing.'),
}) satisfies z.ZodType<Verification>;
export const verification = named('Verification', verificationFields, 'A CID followed to its row and its tokens.');

const knowledgeItemFields = z
  .strictObject({
    id,
    contextId,
    userId,
    cid: z.string().describe('Its address on IPFS.'),
    sha256: z.string().describe('SHA-256 of the text, hexadecimal.'),
    text: z.string().describe('What is shared.'),
    createdAt,
    pinnedAt: z.string().meta({ description: 'ISO 8601, UTC.', format: 'date-time' }),
  })
  .describe('Something everybody may read.');
const knowledgePageFields = z.strictObject(
  listOf(knowledgeItemFields, 'Newest first. A page may be empty and not the last one.'),
) satisfies z.ZodType<Page<KnowledgeItem>>;
export const knowledgePage = named('KnowledgePage', knowledgePageFields, 'A page of knowledge.');
