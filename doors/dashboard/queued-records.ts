import type { Job, Queue } from 'bullmq';
import type { z } from 'zod';
import { validateSave } from '../../shared/records/conversation-id.ts';
import { chatJob, reflectionJob } from '../../shared/records/jobs.ts';

/** The most jobs of a queue that are looked at: those that come next. More jobs wait only where the workers are away. */
const MOST_JOBS = 200;
/** The most jobs that are read at once, because each of them may be four MiB. */
const AT_ONCE = 10;
/** The most text in one answer, in UTF-16 units. */
const MOST_TEXT = 200_000;

/** A record that waits for its worker, in the form that the records of a conversation have. */
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

/**
 * Gives the records of a conversation that wait in these queues; when a user is given, only the records of that user. Malformed
 * jobs are shown by the board and not here.
 */
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

/** Gives null for a malformed job, which is shown by the board and not here. */
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
