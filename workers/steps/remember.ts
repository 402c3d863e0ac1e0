import { UnrecoverableError } from 'bullmq';
import type { MemoryRecord } from '../../shared/records/records.ts';
import type { Remembered } from '../../shared/short-term/short-term.ts';
import { countTokens } from '../../shared/records/tokens.ts';
import type { WorkerParts } from './worker-parts.ts';

/**
 * Puts a record into short-term memory and counts it, once however often its job is delivered. The job fails when a pending
 * record of another conversation has the same id: this record would then be acknowledged under the other one's entry, which
 * would take the other record off the pending stream uncommitted.
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
