import { UnrecoverableError } from 'bullmq';
import type { MemoryRecord } from '../../shared/records/records.ts';
import type { Remembered } from '../../shared/short-term/short-term.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import type { WorkerParts } from './worker-parts.ts';

/**
 * Puts a record into short-term memory and counts it, once however often it is delivered. An id that another conversation's
 * pending record has is refused: acknowledged under that one's entry, this record would take it off the stream uncommitted.
 */
export async function remember(
  record: MemoryRecord,
  { shortTerm, pending, metrics }: Pick<WorkerParts, 'shortTerm' | 'pending' | 'metrics'>,
): Promise<Remembered> {
  const remembered = await shortTerm.remember(record);
  if (!remembered.added && remembered.entry !== '') {
    const first = await pending.locate(record.id);
    if (first && first.contextId !== record.contextId)
      throw new UnrecoverableError('a record of another conversation has this id; that one stays');
  }
  if (remembered.added) {
    metrics.recordsCached.inc({ module: record.module });
    metrics.tokens.inc({ module: record.module }, countTokens(record.tokens));
  }
  return remembered;
}
