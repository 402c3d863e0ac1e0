import { z } from 'zod';
import { type FlushResult, QUEUES } from '../../../shared/queues.ts';
import type { Stats } from '../../../producers/index.ts';
import type { ErasureReceipt } from '../../../producers/keeping/erasure.ts';
import { count, createdAt, encoding, named } from './fields.ts';

const statsFields = z.strictObject({
  status: z.enum(['ok', 'degraded']).describe('Whether anything needs attention.'),
  reasons: z.array(z.string()).describe('Why degraded, in words; empty when ok.'),
  pendingQueueLength: count('Records in Redis that Supabase does not have yet.'),
  oldestPendingAgeMs: z.number().nullable().describe('Milliseconds; null when nothing is pending.'),
  quarantined: count('Records refused for their content that wait for a person.'),
  quarantinedLately: count('Of these, how many came within the last ten minutes.'),
  pausedQueues: z.array(z.enum(QUEUES)).describe('Queues that are paused: nothing of them is worked on.'),
  redisUsedBytes: count('Memory in use, in bytes.'),
  redisMaxBytes: count("Redis's memory limit, in bytes; 0 without one."),
  ttlSeconds: count('How long a conversation stays in Redis after it was last committed, in seconds.'),
  shortTermLimit: count("How many of a conversation's newest records stay in Redis."),
  encoding,
  queues: z
    .strictObject(
      Object.fromEntries(QUEUES.map((name) => [name, z.record(z.string(), z.int())])) as Record<
        (typeof QUEUES)[number],
        z.ZodRecord<z.ZodString, z.ZodInt>
      >,
    )
    .describe('Jobs of each queue by state, as BullMQ counts them.'),
}) satisfies z.ZodType<Stats>;
export const stats = named('Stats', statsFields, 'Lengths, ages and limits.');

const flushFields = z.strictObject({
  success: z.literal(true).describe('Always true: where Supabase cannot be reached the answer is a problem.'),
  totalPending: count('Records that were pending when it began.'),
  flushedCount: count('Records that are in Supabase now.'),
  failedCount: count('Records refused for their content, now in quarantine.'),
  batches: count('Requests it took.'),
}) satisfies z.ZodType<Omit<FlushResult, 'success'>>;
export const flushResult = named('FlushResult', flushFields, 'What a flush did.');

const liveFields = z.strictObject({ live: z.literal(true).describe('It answers.') });
export const live = named('Live', liveFields, 'The process runs.');
const readyFields = z.strictObject({
  status: z.enum(['ok', 'degraded', 'unready']).describe('degraded: it works, and needs attention; see /memory/stats.'),
  ready: z.boolean().describe('Whether requests should come here.'),
});
export const ready = named('Ready', readyFields, 'Whether requests should come here.');

const erasureFields = z.strictObject({
  id: z.string().meta({ description: "The receipt's own UUID.", format: 'uuid' }),
  scope: z
    .strictObject({
      userId: z.string().nullable().describe('Whose records; null for everybody in the conversation.'),
      contextId: z.string().nullable().describe('Of which conversation; null for all of the user.'),
    })
    .describe('What was erased.'),
  erasedAt: createdAt,
  tiers: z
    .strictObject({
      jobs: count('Jobs of any state, those in quarantine too.'),
      cached: count('Records in Redis.'),
      pending: count('Of these, how many Supabase did not have yet.'),
      committed: count('Rows of memories.'),
      keysDestroyed: count('Wrapped keys: the copies on IPFS can never be read again.'),
      unpinned: count('Pins the IPFS node gave up.'),
      events: count('Events that named it.'),
    })
    .describe('How many of what; a repeat counts what the earlier run had left.'),
  signature: z
    .string()
    .nullable()
    .describe(
      'Ed25519 over the canonical JSON (RFC 8785) of the rest with its names in camelCase, base64url; null without a key.',
    ),
  signingKey: z.string().nullable().describe('The raw public key, base64url.'),
}) satisfies z.ZodType<ErasureReceipt>;
export const erasureReceipt = named('ErasureReceipt', erasureFields, 'What an erasure gives.');
