import { UnrecoverableError } from 'bullmq';
import { isSealed } from '../../shared/secrets/encryption.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { fromRow, type MemoryRecord } from '../../shared/records/records.ts';
import { quarantineJob } from '../../shared/records/jobs.ts';
import { plainTokens } from '../../shared/records/tokens.ts';
import { validate } from '../../shared/validate.ts';
import type { WorkerParts } from '../steps/worker-parts.ts';

/**
 * One row that Supabase refused. At its first start the job fails at once, because it only has to wait for a person among the
 * failed jobs. Each time a person retries the job, the row is committed, or the job fails again with Supabase's new reason.
 */
export async function processQuarantined(data: unknown, start: number, parts: WorkerParts): Promise<{ id: string }> {
  const { row, error } = validate(quarantineJob, data, 'the quarantined job');
  if (start === 1) throw new UnrecoverableError(`refused (${error.code}): ${error.message}`);
  const record = fromRow(row);
  refusePlain(record, parts.config);
  await parts.erasures.refuse(record.userId ?? undefined, record.contextId);
  const { failure } = await parts.longTerm.memories.insert([record]);
  if (failure?.kind === 'refused') throw new UnrecoverableError(`refused again (${failure.code}): ${failure.message}`);
  if (failure) throw new MnemoqError('supabase_unavailable', `${failure.code}: ${failure.message}`);
  // `inserted: false` drops the cached copy. The row may have been mended, so the next read has to take it from Supabase.
  await parts.shortTerm.acknowledge(record.contextId, [{ record, entry: '', inserted: false }]);
  return { id: record.id };
}

/** Without this check, plain text could get into Supabase from anybody who can write to Redis or mends a row by hand. */
function refusePlain({ id, tokens, textCache }: MemoryRecord, config: WorkerParts['config']): void {
  if (config.allowPlainRows) return;
  if (config.encryptTokens && !('sealed' in tokens)) throw new UnrecoverableError(plainTokens(id));
  if (config.textCache === 'encrypted' && textCache !== null && !isSealed(textCache)) {
    throw new UnrecoverableError(
      `text:${id} is not encrypted although MEMORY_TEXT_CACHE is encrypted: set text_cache to null, or encrypt it with ` +
        'mnemoq rekey --seal-plain',
    );
  }
}
