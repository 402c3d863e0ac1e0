/** The queues, by the name other programs use. Each has one job name, the same. */
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
