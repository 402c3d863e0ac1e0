import { z } from 'zod';
import { isError, MnemoqError, messageOf } from '../../shared/errors.ts';
import { WINDOW } from '../../shared/long-term/sealed-rows.ts';
import { withinTime } from '../../shared/redis/within-time.ts';
import { validate } from '../../shared/validate.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { awaitLetGo } from '../parts/let-go.ts';
import { portionsOf } from '../parts/portions.ts';
import { Resealing, type SealedTier, type SealingPlan, type SealingTask } from './resealing.ts';

/** Rows exchanged at once. Each of them takes a request. */
const AT_ONCE = 16;
/**
 * Most passes of a run. A pass that has changed something is followed by another one, which workers with the old keys
 * could otherwise keep going without end.
 */
const MOST_PASSES = 5;
/** Failures that are told one by one in a pass. `left` counts all of them. */
const TOLD = 100;
/** Exported because docs/calls.md is made from it. @public */
export const rekeyOptions = z.strictObject({ dryRun: z.boolean().optional(), sealPlain: z.boolean().optional() });
export type RekeyOptions = z.input<typeof rekeyOptions>;

/** Something that could not be sealed with the first key. */
export interface RekeyFailure {
  tier: SealedTier;
  id: string;
  reason: string;
}

export interface RekeyProgress {
  /** The key with which everything is to be sealed, which is the first one of MEMORY_ENCRYPTION_KEYS. */
  keyId: string;
  /** How many passes have begun. Another one follows until a pass has found nothing to do. */
  pass: number;
  /** How many rows of Supabase were looked at in this pass. */
  done: number;
  /** How many rows of Supabase there are to look at. */
  total: number;
  /** How many values were sealed anew so far: text caches, tokens and wrapped keys. With `dryRun` there are none. */
  resealed: Record<SealedTier, number>;
  /** What could not be sealed anew in this pass, the first 100. */
  failures: RekeyFailure[];
  /**
   * Null until the last step. There it says how many values are not sealed with that key, by the key with which they
   * are sealed. When it is empty, no other key is in use any more.
   */
  left: Record<string, number> | null;
  /** How many values are plain although they must be encrypted. Only `sealPlain` changes that. */
  plain: number;
}

/**
 * Seals with the first key what is sealed with another one, in Supabase and in Redis, while everything else runs. The
 * data itself says what is done, so a new run goes on where a stopped one was. Options and configuration are checked
 * before the first step, and every step tells how far the run is.
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
  return new Rekeying({ sealPlain, sealed, keyring }, dryRun, parts).run();
}

/** One run. It goes through all tiers in passes, and counts what it finds in the pass under way. */
class Rekeying {
  readonly #plan: SealingPlan;
  readonly #dryRun: boolean;
  readonly #parts: CallParts;
  readonly #sealed: Resealing;
  readonly #resealed: RekeyProgress['resealed'] = { memories: 0, reflections: 0, quarantine: 0, cache: 0 };
  #pass = 0;
  #done = 0;
  #total = 0;
  /** Whether this pass has changed something, or has found it changed by somebody else. */
  #moved = false;
  #left: Record<string, number> = {};
  #plain = 0;
  #failures: RekeyFailure[] = [];

  constructor(plan: SealingPlan, dryRun: boolean, parts: CallParts) {
    this.#plan = plan;
    this.#dryRun = dryRun;
    this.#parts = parts;
    this.#sealed = new Resealing(plan, parts);
  }

  async *run(): AsyncIterableIterator<RekeyProgress> {
    do {
      yield* this.#look(this.#dryRun);
    } while (this.#moved && this.#pass < MOST_PASSES);
    if (this.#moved) yield* this.#look(true);
    yield { ...this.#progress(), left: this.#left };
  }

  /**
   * One pass. It begins with Supabase, so that what comes from there into Redis afterwards is sealed anew already. Records that
   * a flush has in hand come into Supabase as they were. So the pass waits for the flush, and the next pass finds them.
   */
  async *#look(dryRun: boolean): AsyncGenerator<RekeyProgress> {
    const { config, longTerm, redis } = this.#parts;
    await withinTime(redis.ping(), config.redisTimeoutMs, 'sealing anew');
    this.#pass += 1;
    this.#done = 0;
    this.#total = (await longTerm.memories.count({})) + (await longTerm.reflections.count({}));
    this.#moved = false;
    this.#left = {};
    this.#plain = 0;
    this.#failures = [];
    for (const tasks of [this.#sealed.wrappedKeys(), this.#sealed.records()]) {
      for await (const found of tasks) {
        await this.#work(found, dryRun);
        this.#done = Math.min(this.#done + WINDOW, this.#total);
        yield this.#progress();
      }
    }
    if (!dryRun) await this.#sealed.callOffRefills();
    for (const tasks of [this.#sealed.quarantined(), this.#sealed.cached()]) {
      for await (const found of tasks) await this.#work(found, dryRun);
    }
    this.#done = this.#total;
    yield this.#progress();
    if (this.#moved) await this.#awaitWorkers();
  }

  async #work(tasks: readonly SealingTask[], dryRun: boolean): Promise<void> {
    const todo = tasks.filter(({ keyIds }) => keyIds.length > 0);
    for (const portion of portionsOf(todo, AT_ONCE)) {
      await Promise.all(portion.map((task) => this.#attempt(task, dryRun)));
    }
  }

  async #attempt({ tier, id, keyIds, exchange }: SealingTask, dryRun: boolean): Promise<void> {
    const staysPlain = this.#plan.sealPlain ? [] : keyIds.filter((keyId) => keyId === null);
    const mine = keyIds.length - staysPlain.length;
    if (dryRun || mine === 0) return this.#keep(keyIds);
    try {
      // When the exchange comes too late, the record was erased or changed, and the next pass sees which.
      if (await exchange()) {
        this.#resealed[tier] += mine;
        this.#keep(staysPlain);
      }
      this.#moved = true;
    } catch (error) {
      if (!isOwn(error)) throw error;
      this.#keep(keyIds);
      if (this.#failures.length < TOLD) this.#failures.push({ tier, id, reason: messageOf(error) });
    }
  }

  /** Counts values that stay as they are. */
  #keep(keyIds: readonly (string | null)[]): void {
    for (const keyId of keyIds) {
      if (keyId === null) this.#plain += 1;
      else this.#left[keyId] = (this.#left[keyId] ?? 0) + 1;
    }
  }

  /** Waits until no worker has in hand what it read before that was sealed anew. */
  async #awaitWorkers(): Promise<void> {
    const { pending, queue } = this.#parts;
    const last = await Promise.all(pending.shards.map((shard) => pending.last(shard)));
    await awaitLetGo(async () => {
      const inHand = await Promise.all(
        pending.shards.map(async (shard, i) => (last[i] ? pending.inHand(shard, last[i]) : 0)),
      );
      const active = await queue('quarantine').getActiveCount();
      return inHand.every((count) => count === 0) && active === 0;
    }, 'a worker has records in hand that may be sealed with an old key; run it again');
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

/** Whether the value itself is at fault, and not a store that does not answer. */
function isOwn(error: unknown): boolean {
  return isError(error, 'key_missing') || isError(error, 'sealed_data_damaged');
}
