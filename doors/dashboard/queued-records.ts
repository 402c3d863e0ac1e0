import type { Job, Queue } from 'bullmq';
import type { z } from 'zod';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { chatJob, reflectionJob } from '../../shared/records/jobs.ts';

/** Jobs looked at, the next ones to be worked on: more than that wait only where the workers are away. */
const MOST_JOBS = 200;
/** Jobs read at once: each may be four MiB. */
const AT_ONCE = 10;
/** Most text given, in UTF-16 units. */
const MOST_TEXT = 200_000;

/** A record that waits for its worker, in the form the records of a conversation have. */
export interface QueuedRecord {
  id: string;
  context_id: string;
  user_id: string | null;
  module: string;
  created_at: string;
  user_message?: string;
  assistant_message?: string;
  text?: string;
}

/** What of a conversation waits in these queues, of one user when given. Malformed jobs are left to the board. */
export async function findQueued(
  queues: readonly Queue[],
  contextId: string,
  userId: string | null,
): Promise<QueuedRecord[]> {
  const found: QueuedRecord[] = [];
  let text = 0;
  for (const queue of queues) {
    const ids = await queue.getRanges(['active', 'waiting', 'prioritized', 'delayed'], 0, MOST_JOBS - 1, true);
    for (let start = 0; start < ids.length && text < MOST_TEXT; start += AT_ONCE) {
      const jobs = await Promise.all(ids.slice(start, start + AT_ONCE).map((id) => queue.getJob(id)));
      for (const record of jobs.map(toQueued)) {
        if (record?.context_id !== contextId || (userId !== null && record.user_id !== userId)) continue;
        text += JSON.stringify(record).length;
        found.push(record);
      }
    }
  }
  return found;
}

function toQueued(job: Job | undefined): QueuedRecord | null {
  const turn = read(chatJob, job?.data);
  if (turn) {
    return {
      ...headOf(turn, 'chat'),
      user_message: turn.userMessage,
      assistant_message: turn.assistantMessage,
    };
  }
  const reflection = read(reflectionJob, job?.data);
  return reflection ? { ...headOf(reflection, 'reflection'), text: reflection.reflectionText } : null;
}

/** Null for a malformed job, which is left to the board. */
function read<T>(schema: z.ZodType<T>, data: unknown): T | null {
  try {
    return validateSave(schema, data, 'the job');
  } catch {
    return null;
  }
}

function headOf(
  job: { id: string; contextId: string; userId?: string | undefined; createdAt: string },
  module: string,
) {
  const { id, contextId, userId = null, createdAt } = job;
  return { id, context_id: contextId, user_id: userId, module, created_at: createdAt };
}
