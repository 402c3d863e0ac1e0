import type { JobsOptions } from 'bullmq';

/** The queues, by the name other programs use. Each has one job name, the same. */
export const QUEUES = ['chat', 'reflection', 'flush', 'quarantine'] as const;
export type QueueName = (typeof QUEUES)[number];

const HOUR = 3_600; // BullMQ takes ages in seconds
const DAY = 24 * HOUR;

/**
 * How long finished jobs stay, per queue. Completed saves make a repeated save with the same id a no-op for an hour
 * (after that the short-term cache and the primary key do); failed ones wait for a person.
 */
export const RETENTION: Record<QueueName, Pick<JobsOptions, 'removeOnComplete' | 'removeOnFail'>> = {
  chat: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  reflection: { removeOnComplete: { age: HOUR, count: 10_000 }, removeOnFail: { age: 30 * DAY, count: 100_000 } },
  flush: { removeOnComplete: { age: DAY, count: 1_000 }, removeOnFail: { age: DAY, count: 1_000 } },
  // A quarantined row is nowhere else but in Redis: only a successful retry removes it.
  quarantine: { removeOnComplete: { age: DAY, count: 1_000 }, removeOnFail: false },
};

/** What `chat` jobs return. */
export interface ChatResult {
  tokenCount: number;
  supabaseStored: boolean;
}

/** What `reflection` jobs return. */
export interface ReflectionResult {
  tokenCount: number;
  cid: string;
  sha256: string;
}

/** What `flush` jobs return, and report as progress while they run. */
export interface FlushResult {
  success: boolean;
  /** Records pending when the run began. */
  totalPending: number;
  flushedCount: number;
  /** Records refused for their content and quarantined. */
  failedCount: number;
  /** Requests that committed something. */
  batches: number;
}
