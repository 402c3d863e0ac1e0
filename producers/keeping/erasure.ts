/**
 * **producers/keeping/**: what happens to records long after they were saved. They are erased, sealed with another key,
 * archived and restored.
 */
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
import { awaitLetGo } from '../parts/let-go.ts';
import { inReadTime } from '../reading/reading.ts';
import { eraseJobs } from './erased-jobs.ts';

/** Ids in one request. They stand in its URL, which proxies cut at 8 kB. */
const ROWS_AT_ONCE = 100;
/** Erasing a user with millions of records takes long. One that takes longer than this is finished by a second run. */
const LONGEST_MS = 3_600_000;
/** Exported because docs/calls.md is made from it. @public */
export const forgetOptions = z
  .strictObject({ userId: identifier.optional(), contextId: identifier.optional() })
  .refine(({ userId, contextId }) => userId !== undefined || contextId !== undefined, {
    path: ['userId'],
    message: 'a userId, a contextId or both',
  });
export type ForgetOptions = z.input<typeof forgetOptions>;

/** What was erased, tier by tier. The receipt of a repeated erasure counts only what the earlier run had left. */
export interface ErasureReceipt {
  id: string;
  scope: { userId: string | null; contextId: string | null };
  erasedAt: string;
  tiers: {
    /** Jobs in any state, those in quarantine included. */
    jobs: number;
    /** Records in Redis. */
    cached: number;
    /** How many of the cached records Supabase did not have yet. */
    pending: number;
    /** Rows of `memories`. */
    committed: number;
    /** Rows of `memory_reflections` with a wrapped key. Without that key the copies on IPFS can never be read again. */
    keysDestroyed: number;
    /** Pins the IPFS node gave up. */
    unpinned: number;
    /** Events that named a record of the user or conversation. */
    events: number;
  };
  /** An Ed25519 signature, in base64url, over the canonical JSON of all other fields; null without MEMORY_SIGNING_KEY. */
  signature: string | null;
  /** The raw public key that belongs to the signature, in base64url; null without MEMORY_SIGNING_KEY. */
  signingKey: string | null;
}

type Tiers = ErasureReceipt['tiers'];

/**
 * Erases a user, a conversation, or a user in a conversation from every tier. From the first step on, nothing new of them is
 * remembered, so the steps may run while other turns flow. Each step can be repeated, so an erasure that failed half way is
 * run again. Supabase comes after everything that could still write to it has let go.
 */
export async function forget(options: ForgetOptions, parts: CallParts): Promise<ErasureReceipt> {
  const scope = validate(forgetOptions, options, 'the options');
  return withinTime(erase(scope, parts), LONGEST_MS, 'erasing');
}

/** Takes records of an erased user or conversation again. False when the user or conversation was not erased. */
export async function liftErasure(options: ForgetOptions, parts: CallParts): Promise<boolean> {
  return inReadTime(parts.erasures.lift(validate(forgetOptions, options, 'the options')), parts);
}

async function erase(scope: ErasureScope, parts: CallParts): Promise<ErasureReceipt> {
  const erasedAt = new Date().toISOString();
  const tiers: Tiers = { jobs: 0, cached: 0, pending: 0, committed: 0, keysDestroyed: 0, unpinned: 0, events: 0 };
  await parts.erasures.add(scope, erasedAt);
  tiers.jobs = await eraseJobs(scope, parts);
  await parts.reflectorState.erase(scope);
  await eraseCached(scope, tiers, parts);
  await awaitFlushes(parts);
  await erasePinned(scope, tiers, parts);
  await eraseCommitted(scope, tiers, parts);
  await eraseCached(scope, tiers, parts); // a read may have refilled it since
  tiers.events = await parts.events.erase(scope);
  const { userId = null, contextId = null } = scope;
  return sign({ id: uuidv7(), scope: { userId, contextId }, erasedAt, tiers }, parts);
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

/** A flush that took records before they were erased may be writing them to Supabase now. After this step none does. */
async function awaitFlushes({ pending, submission }: CallParts): Promise<void> {
  if (!(await pending.hasErased())) return;
  await submission.add('flush', { reason: 'erasure' }, {}, 'asking for a flush');
  await awaitLetGo(
    async () => !(await pending.hasErased()),
    'not everything is erased yet: no flush has dropped what is erased (is a flush worker running?); run the erasure again',
  );
}

/** Unpins a document before its row is removed, because the rows are the only list of the CIDs. */
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

function sign(receipt: Omit<ErasureReceipt, 'signature' | 'signingKey'>, { config }: CallParts): ErasureReceipt {
  if (!config.signingKey) return { ...receipt, signature: null, signingKey: null };
  const signer = new Signer(config.signingKey);
  return { ...receipt, signature: signer.sign(canonicalize(receipt) ?? ''), signingKey: signer.publicKey };
}
