import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { isSealed } from '../../shared/secrets/encryption.ts';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { sealTokens } from '../../shared/records/tokens.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { SealedCache } from './sealed-cache.ts';
import { type Sealable, type SealedRow, WINDOW } from '../../shared/long-term/sealed-rows.ts';

/** Rows exchanged at once: a request each. */
const AT_ONCE = 16;
/** A pass that has found something is followed by another, until workers with the old keys would make it endless. */
const MOST_PASSES = 5;
/** Failures told one by one; the rest are only counted. */
const TOLD = 100;
/** How long workers may take to finish what they have in hand: a dead one's is taken over after a minute. */
const LET_GO_MS = 120_000;
const POLL_MS = 50;

/** Exported because docs/calls.md is made from it. @public */
export const rekeyOptions = z.strictObject({ dryRun: z.boolean().optional(), sealPlain: z.boolean().optional() });
export type RekeyOptions = z.input<typeof rekeyOptions>;

/** Where something sealed stands. */
export type SealedTier = 'memories' | 'reflections' | 'quarantine' | 'cache';

/** One that could not be sealed anew. */
export interface RekeyFailure {
  tier: SealedTier;
  id: string;
  reason: string;
}

export interface RekeyProgress {
  /** The key with which everything is to be sealed: the first one. */
  keyId: string;
  /** Passes begun; another follows until one has found nothing to do. */
  pass: number;
  /** Rows of Supabase looked at in this pass, of how many. */
  done: number;
  total: number;
  /** Values sealed anew so far: text caches, tokens and wrapped keys. With `dryRun` none. */
  resealed: Record<SealedTier, number>;
  /** What could not be in this pass; the first hundred. */
  failures: RekeyFailure[];
  /**
   * At the end, null before: how many values are not sealed with that key, by the key they are sealed with. Where it is
   * empty no other key is in use any more.
   */
  left: Record<string, number> | null;
  /** How many are plain although they must be encrypted; only `sealPlain` changes that. */
  plain: number;
}

/**
 * Seals with the first key what is sealed with another one, in Supabase and in Redis, while everything runs. What is done is
 * told by the data itself, so a run that was stopped goes on where it was. Tells how far it is after every step; checks
 * options and configuration before the first.
 */
export function rekey(options: RekeyOptions, parts: CallParts): AsyncIterableIterator<RekeyProgress> {
  const { dryRun = false, sealPlain = false } = validate(rekeyOptions, options, 'the options');
  const { config, keyring } = parts;
  if (!keyring) {
    throw new MnemoqError('invalid_configuration', 'MEMORY_ENCRYPTION_KEYS: expected keys to seal with, found nothing');
  }
  const sealed = { tokens: config.encryptTokens, text: config.textCache === 'encrypted' };
  if (sealPlain && !sealed.tokens && !sealed.text) {
    const expected = 'MEMORY_ENCRYPT_TOKENS=true or MEMORY_TEXT_CACHE=encrypted with it, found neither';
    throw new MnemoqError('invalid_configuration', `sealPlain: expected ${expected}`);
  }
  return new Rekeying({ dryRun, sealPlain, sealed, keyring }, parts).run();
}

interface Plan {
  dryRun: boolean;
  sealPlain: boolean;
  /** What must be sealed. */
  sealed: { tokens: boolean; text: boolean };
  keyring: Keyring;
}

/** Something to seal anew: what its values are sealed with now (null: plain), and the attempt, false when it was too late. */
interface Task {
  tier: SealedTier;
  id: string;
  kids: (string | null)[];
  exchange: () => Promise<boolean>;
}

class Rekeying {
  readonly #plan: Plan;
  readonly #parts: CallParts;
  readonly #cache: SealedCache;
  readonly #resealed: RekeyProgress['resealed'] = { memories: 0, reflections: 0, quarantine: 0, cache: 0 };
  #pass = 0;
  #done = 0;
  #total = 0;
  /** Whether this pass has changed something, or found it changed by somebody else. */
  #moved = false;
  #left: Record<string, number> = {};
  #plain = 0;
  #failures: RekeyFailure[] = [];

  constructor(plan: Plan, parts: CallParts) {
    this.#plan = plan;
    this.#parts = parts;
    this.#cache = new SealedCache(parts.redis, parts.keys);
  }

  async *run(): AsyncIterableIterator<RekeyProgress> {
    do {
      yield* this.#look(this.#plan.dryRun);
    } while (this.#moved && this.#pass < MOST_PASSES);
    if (this.#moved) yield* this.#look(true);
    yield { ...this.#progress(), left: this.#left };
  }

  /**
   * Supabase first: what comes into Redis from there afterwards is sealed anew already. What a flush has in hand comes into
   * Supabase as it was, so it is waited for, and the next pass finds it.
   */
  async *#look(dryRun: boolean): AsyncGenerator<RekeyProgress> {
    await withinTime(this.#parts.redis.ping(), this.#parts.config.redisTimeoutMs, 'sealing anew');
    this.#pass += 1;
    this.#done = 0;
    this.#total = (await this.#parts.longTerm.memories.count({})) + (await this.#parts.longTerm.reflections.count({}));
    this.#moved = false;
    this.#left = {};
    this.#plain = 0;
    this.#failures = [];
    for (const tasks of [this.#wrappedKeys(), this.#records()]) {
      for await (const found of tasks) {
        await this.#work(found, dryRun);
        this.#done = Math.min(this.#done + WINDOW, this.#total);
        yield this.#progress();
      }
    }
    if (!dryRun) await this.#cache.callOffRefills();
    for (const tasks of [this.#quarantined(), this.#cached()]) {
      for await (const found of tasks) await this.#work(found, dryRun);
    }
    this.#done = this.#total;
    yield this.#progress();
    if (this.#moved) await this.#awaitWorkers();
  }

  async *#wrappedKeys(): AsyncGenerator<Task[]> {
    for await (const rows of this.#parts.longTerm.sealedRows.wrappedKeys()) {
      yield rows.map((row) => ({
        tier: 'reflections' as const,
        id: row.id,
        kids: this.#kidsOf([row.wrappedKey]),
        exchange: async () =>
          this.#parts.longTerm.sealedRows.exchangeWrappedKey(row, this.#reseal(row.wrappedKey, `key:${row.id}`)),
      }));
    }
  }

  async *#records(): AsyncGenerator<Task[]> {
    const { keyring, sealed } = this.#plan;
    for await (const rows of this.#parts.longTerm.sealedRows.records(keyring.writerKid, sealed)) {
      yield rows.map((row) =>
        this.#recordTask('memories', row, async (after) =>
          this.#parts.longTerm.sealedRows.exchangeRecord(row.id, row, after),
        ),
      );
    }
  }

  async *#quarantined(): AsyncGenerator<Task[]> {
    for await (const rows of this.#cache.quarantined(this.#parts.queue('quarantine'))) {
      yield rows.map((row) => this.#recordTask('quarantine', row, row.exchange));
    }
  }

  async *#cached(): AsyncGenerator<Task[]> {
    for await (const rows of this.#cache.conversations()) {
      yield rows.map((row) => this.#recordTask('cache', row, row.exchange));
    }
  }

  #recordTask(tier: SealedTier, row: SealedRow, exchange: (after: Sealable) => Promise<boolean>): Task {
    const { tokens, textCache } = row;
    const { sealed } = this.#plan;
    const values = [
      ...('sealed' in tokens ? [tokens.sealed] : sealed.tokens ? [null] : []),
      ...(textCache !== null && (isSealed(textCache) || sealed.text) ? [isSealed(textCache) ? textCache : null] : []),
    ];
    return { tier, id: row.id, kids: this.#kidsOf(values), exchange: async () => exchange(this.#resealRecord(row)) };
  }

  /** The kids of those values that are not sealed with the first key; null for a plain one. */
  #kidsOf(values: readonly (string | null)[]): (string | null)[] {
    return values.map((value) => value?.split('.')[1] ?? null).filter((kid) => kid !== this.#plan.keyring.writerKid);
  }

  #resealRecord({ id, tokens, textCache }: SealedRow): Sealable {
    const { keyring, sealPlain, sealed } = this.#plan;
    const text = `text:${id}`;
    const after: Sealable = { tokens, textCache };
    if ('sealed' in tokens) after.tokens = { ...tokens, sealed: this.#reseal(tokens.sealed, `tokens:${id}`) };
    else if (sealPlain && sealed.tokens) after.tokens = sealTokens(tokens, keyring, id);
    if (textCache !== null && isSealed(textCache)) after.textCache = this.#reseal(textCache, text);
    else if (textCache !== null && sealPlain && sealed.text)
      after.textCache = keyring.seal(Buffer.from(textCache), text);
    return after;
  }

  /** Gives only what certainly opens: a wrapped key is the only one there is. */
  #reseal(value: string, purpose: string): string {
    const { keyring } = this.#plan;
    const plain = keyring.open(value, purpose);
    const anew = keyring.seal(plain, purpose);
    if (keyring.open(anew, purpose).equals(plain)) return anew;
    throw new MnemoqError('sealed_data_damaged', `${purpose} does not open as it was sealed`);
  }

  async #work(tasks: readonly Task[], dryRun: boolean): Promise<void> {
    const todo = tasks.filter(({ kids }) => kids.length > 0);
    for (let from = 0; from < todo.length; from += AT_ONCE) {
      await Promise.all(todo.slice(from, from + AT_ONCE).map((task) => this.#attempt(task, dryRun)));
    }
  }

  async #attempt({ tier, id, kids, exchange }: Task, dryRun: boolean): Promise<void> {
    const others = kids.filter((kid) => kid !== null);
    const mine = this.#plan.sealPlain ? kids.length : others.length;
    if (dryRun || mine === 0) return this.#keep(kids);
    try {
      // Too late: it is erased, or was changed since it was read, which the next pass sees.
      if (await exchange()) {
        this.#resealed[tier] += mine;
        this.#keep(kids.slice(0, kids.length - mine));
      }
      this.#moved = true;
    } catch (error) {
      if (!isOwn(error)) throw error;
      this.#keep(kids);
      if (this.#failures.length < TOLD) this.#failures.push({ tier, id, reason: messageOf(error) });
    }
  }

  #keep(kids: readonly (string | null)[]): void {
    for (const kid of kids) {
      if (kid === null) this.#plain += 1;
      else this.#left[kid] = (this.#left[kid] ?? 0) + 1;
    }
  }

  /** Until nobody has in hand what was read before it was sealed anew. */
  async #awaitWorkers(): Promise<void> {
    const { pending, queue } = this.#parts;
    const deadline = Date.now() + LET_GO_MS;
    const last = await Promise.all(pending.shards.map((shard) => pending.last(shard)));
    for (;;) {
      const inHand = await Promise.all(
        pending.shards.map(async (shard, i) => (last[i] ? pending.inHand(shard, last[i]) : 0)),
      );
      const active = await queue('quarantine').getActiveCount();
      if (inHand.every((count) => count === 0) && active === 0) return;
      if (Date.now() > deadline) {
        throw new MnemoqError(
          'timeout',
          'a worker has records in hand that may be sealed with an old key; run it again',
        );
      }
      await sleep(POLL_MS);
    }
  }

  #progress(): RekeyProgress {
    return {
      keyId: this.#plan.keyring.writerKid,
      pass: this.#pass,
      done: this.#done,
      total: this.#total,
      resealed: { ...this.#resealed },
      failures: [...this.#failures],
      left: null,
      plain: this.#plain,
    };
  }
}

/** Whether it is the value's own fault, and not that of a store that does not answer. */
function isOwn(error: unknown): boolean {
  return error instanceof MnemoqError && (error.code === 'key_missing' || error.code === 'sealed_data_damaged');
}
