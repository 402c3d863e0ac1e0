/**
 * **producers/keeping/**: what is done to records long after they were saved: erased, sealed with another key, archived,
 * restored.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobType } from 'bullmq';
import canonicalize from 'canonicalize';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import type { ErasureScope } from '../../shared/short-term/erasures.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { Ipfs } from '../../shared/pinning/ipfs.ts';
import { identifier } from '../../shared/identifiers.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { Signer } from '../../shared/secrets/signing.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';

/**
 * Where a record may be before or after it is one, in the order in which a job goes through them, so that one that moves
 * on while they are looked through is met further down. Finished jobs too: they keep their data for an hour.
 */
const STATES: JobType[] = ['delayed', 'prioritized', 'waiting', 'active', 'completed', 'failed'];
const QUEUES_OF_RECORDS = ['chat', 'reflection', 'quarantine', 'webhook', 'reflector'] as const;
/** Jobs read at once: each may be four MiB. */
const JOBS_AT_ONCE = 20;
/** Ids in one request: they stand in its URL, which proxies cut at 8 kB. */
const ROWS_AT_ONCE = 100;
const POLL_MS = 50;
/** A user with millions of records takes long; one that takes longer than this is erased by running it again. */
const LONGEST_MS = 3_600_000;
/** How long workers may take to let go: the jobs of one that was killed are free after a minute and a half at most. */
const LET_GO_MS = 120_000;

export const forgetOptions = z
  .strictObject({ userId: identifier.optional(), contextId: identifier.optional() })
  .refine(({ userId, contextId }) => userId !== undefined || contextId !== undefined, {
    path: ['userId'],
    message: 'a userId, a contextId or both',
  });
export type ForgetOptions = z.input<typeof forgetOptions>;

/** What was erased, tier by tier; from a repeat only what the earlier run had left. */
export interface ErasureReceipt {
  id: string;
  scope: { userId: string | null; contextId: string | null };
  erasedAt: string;
  tiers: {
    /** Jobs of any state, with those in quarantine. */
    jobs: number;
    /** Records in Redis. */
    cached: number;
    /** Of these, how many Supabase did not have yet. */
    pending: number;
    /** Rows of `memories`. */
    committed: number;
    /** Rows of `memory_reflections` with a wrapped key: their copies on IPFS can never be read again. */
    keysDestroyed: number;
    /** Pins the IPFS node gave up. */
    unpinned: number;
    /** Events that named it. */
    events: number;
  };
  /** Ed25519 over the canonical JSON of the rest, base64url, and the raw public key; null without MEMORY_SIGNING_KEY. */
  signature: string | null;
  signingKey: string | null;
}

type Tiers = ErasureReceipt['tiers'];

/**
 * Erases a user, a conversation, or a user in a conversation from every tier. From the first step on nothing new of it is
 * remembered, so the steps may run while turns flow; each can be repeated, so one that failed half way is run again.
 * Supabase comes after everything that could still write to it has let go.
 */
export async function forget(options: ForgetOptions, parts: CallParts): Promise<ErasureReceipt> {
  const scope = validate(forgetOptions, options, 'the options');
  return withinTime(erase(scope, parts), LONGEST_MS, 'erasing');
}

async function erase(scope: ErasureScope, parts: CallParts): Promise<ErasureReceipt> {
  const erasedAt = new Date().toISOString();
  const tiers: Tiers = { jobs: 0, cached: 0, pending: 0, committed: 0, keysDestroyed: 0, unpinned: 0, events: 0 };
  await parts.erasures.add(scope, erasedAt);
  await eraseJobs(scope, tiers, parts);
  await parts.reflectorState.erase(scope);
  await eraseCached(scope, tiers, parts);
  await awaitFlushes(parts);
  await erasePinned(scope, tiers, parts);
  await eraseCommitted(scope, tiers, parts);
  await eraseCached(scope, tiers, parts); // what a read has refilled since
  tiers.events = await parts.events.erase(scope);
  const { userId = null, contextId = null } = scope;
  return sign({ id: uuidv7(), scope: { userId, contextId }, erasedAt, tiers }, parts);
}

/** Round after round, until one has met none: also none that was in a worker's hand before, or was put off meanwhile. */
async function eraseJobs(scope: ErasureScope, tiers: Tiers, parts: CallParts): Promise<void> {
  await until('a worker has its records in hand', async () => {
    let met = 0;
    for (const name of QUEUES_OF_RECORDS) {
      for await (const job of jobsOf(name, parts)) {
        if (!isWithin(job, scope)) continue;
        met += 1;
        // A job that a worker has taken cannot be removed; it ends, and the next round finds it elsewhere.
        const removed = await job.remove().then(
          () => 1,
          () => 0,
        );
        tiers.jobs += removed;
      }
    }
    return met === 0;
  });
}

async function* jobsOf(name: (typeof QUEUES_OF_RECORDS)[number], parts: CallParts): AsyncGenerator<Job> {
  const queue = parts.queue(name);
  for (const state of STATES) {
    const ids = await queue.getRanges([state], 0, -1);
    for (let from = 0; from < ids.length; from += JOBS_AT_ONCE) {
      const jobs = await Promise.all(ids.slice(from, from + JOBS_AT_ONCE).map((id) => queue.getJob(id)));
      yield* jobs.filter((job) => job !== undefined);
    }
  }
}

/** What a job's data may say of whose it is. Any client may have added it, with any data. */
interface Owner {
  userId?: unknown;
  contextId?: unknown;
}

/** By the data of a save, the row of a refused one, or the event of a delivery. */
function isWithin({ data }: Job, { userId, contextId }: ErasureScope): boolean {
  return ownersIn(data).some(
    (owner) =>
      (userId === undefined || owner.userId === userId) && (contextId === undefined || owner.contextId === contextId),
  );
}

function ownersIn(data: unknown): Owner[] {
  const {
    row,
    data: event,
    ...save
  } = (data ?? {}) as Owner & {
    row?: { user_id?: unknown; context_id?: unknown } | null;
    data?: (Owner & { records?: Owner[] }) | null;
  };
  const { contextId, records = [] } = event ?? {};
  return [
    save,
    ...(row ? [{ userId: row.user_id, contextId: row.context_id }] : []),
    ...(event ? [event, ...records.map(({ userId }) => ({ userId, contextId }))] : []),
  ];
}

async function eraseCached({ userId, contextId }: ErasureScope, tiers: Tiers, { shortTerm }: CallParts): Promise<void> {
  const erase = async (conversation: string) => {
    const { cached, pending } = await shortTerm.erase(conversation, userId);
    tiers.cached += cached;
    tiers.pending += pending;
  };
  if (contextId !== undefined) return erase(contextId);
  for await (const conversations of shortTerm.cachedConversations()) await Promise.all(conversations.map(erase));
}

/** A flush that had taken records before they were erased may be writing them to Supabase now; afterwards none does. */
async function awaitFlushes({ pending, submission }: CallParts): Promise<void> {
  if (!(await pending.hasErased())) return;
  await submission.add('flush', { reason: 'erasure' }, {}, 'asking for a flush');
  await until(
    'no flush has dropped what is erased (is a flush worker running?)',
    async () => !(await pending.hasErased()),
  );
}

/** Pins first: the rows are the only list of the CIDs. */
async function erasePinned(scope: ErasureScope, tiers: Tiers, parts: CallParts): Promise<void> {
  const { config, longTerm, pins } = parts;
  for (;;) {
    const rows = await longTerm.reflections.some(scope, ROWS_AT_ONCE);
    if (rows.length === 0) return;
    if (config.ipfsApiUrl === undefined) {
      const found = 'expected the IPFS node that pins its reflections, found nothing';
      throw new MnemoqError('invalid_configuration', `IPFS_API_URL: ${found}; run the erasure again with it`);
    }
    const ipfs = new Ipfs(config.ipfsApiUrl, config.ipfsTimeoutMs);
    for (const { cid } of rows) if (await ipfs.unpin(cid)) tiers.unpinned += 1;
    const ids = rows.map(({ id }) => id);
    await pins.forget(ids);
    tiers.committed += await longTerm.memories.remove(ids);
    tiers.keysDestroyed += rows.filter((row) => row.wrapped_key !== null).length;
  }
}

async function eraseCommitted(scope: ErasureScope, tiers: Tiers, { longTerm }: CallParts): Promise<void> {
  for (;;) {
    const ids = await longTerm.memories.someIds(scope, ROWS_AT_ONCE);
    if (ids.length === 0) return;
    tiers.committed += await longTerm.memories.remove(ids);
  }
}

async function until(unless: string, isDone: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + LET_GO_MS;
  while (!(await isDone())) {
    if (Date.now() > deadline) {
      throw new MnemoqError('timeout', `not everything is erased yet: ${unless}; run the erasure again`);
    }
    await sleep(POLL_MS);
  }
}

function sign(receipt: Omit<ErasureReceipt, 'signature' | 'signingKey'>, { config }: CallParts): ErasureReceipt {
  if (!config.signingKey) return { ...receipt, signature: null, signingKey: null };
  const signer = new Signer(config.signingKey);
  return { ...receipt, signature: signer.sign(canonicalize(receipt) ?? ''), signingKey: signer.publicKey };
}
