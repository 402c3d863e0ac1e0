/** The queues, by the names that other programs use. The jobs of a queue have the name of the queue. */
export const QUEUES = ['chat', 'reflection', 'flush', 'quarantine', 'webhook', 'reflector'] as const;
export type QueueName = (typeof QUEUES)[number];

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

/** What `flush` jobs return, and what they report as progress while they run. */
export interface FlushResult {
  success: boolean;
  /** How many records were pending when the run began. */
  totalPending: number;
  flushedCount: number;
  /** How many records were refused for their content and set aside in quarantine. */
  failedCount: number;
  /** How many requests committed something. */
  batches: number;
}
