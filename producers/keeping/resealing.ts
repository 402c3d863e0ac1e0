import { type Sealable, type SealedRow } from '../../shared/long-term/sealed-rows.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { sealTokens } from '../../shared/records/tokens.ts';
import { isSealed, kidOf } from '../../shared/secrets/encryption.ts';
import type { Keyring } from '../../shared/secrets/keyring.ts';
import type { CallParts } from '../parts/call-parts.ts';
import { SealedCache } from './sealed-cache.ts';

/** Where something sealed is kept. */
export type SealedTier = 'memories' | 'reflections' | 'quarantine' | 'cache';

/** What is to be sealed, and with which keys. */
export interface SealingPlan {
  /** Seal also what is plain. */
  sealPlain: boolean;
  /** Which values the configuration wants to be sealed. */
  sealed: { tokens: boolean; text: boolean };
  keyring: Keyring;
}

/** A record, or a wrapped key, with values that are not sealed with the first key. */
export interface SealingTask {
  tier: SealedTier;
  id: string;
  /** The key with which each of those values is sealed now; null for one that is plain and must be sealed. */
  keyIds: (string | null)[];
  /** Seals the values anew. Gives false when they were erased or changed since they were read. */
  exchange: () => Promise<boolean>;
}

/** Finds what is sealed in each tier, and says how to seal it with the first key. */
export class Resealing {
  readonly #plan: SealingPlan;
  readonly #parts: CallParts;
  readonly #cache: SealedCache;

  constructor(plan: SealingPlan, parts: CallParts) {
    this.#plan = plan;
    this.#parts = parts;
    this.#cache = new SealedCache(parts.redis, parts.keys);
  }

  /** In portions of at most WINDOW rows. */
  async *wrappedKeys(): AsyncGenerator<SealingTask[]> {
    const { sealedRows } = this.#parts.longTerm;
    for await (const rows of sealedRows.wrappedKeys()) {
      yield rows.map((row) => ({
        tier: 'reflections' as const,
        id: row.id,
        keyIds: this.#otherKeyIds([row.wrappedKey]),
        exchange: async () => sealedRows.exchangeWrappedKey(row, this.#reseal(row.wrappedKey, `key:${row.id}`)),
      }));
    }
  }

  /** In portions of at most WINDOW rows. */
  async *records(): AsyncGenerator<SealingTask[]> {
    const { keyring, sealed } = this.#plan;
    const { sealedRows } = this.#parts.longTerm;
    for await (const rows of sealedRows.records(keyring.writerKid, sealed)) {
      yield rows.map((row) =>
        this.#recordTask('memories', row, async (after) => sealedRows.exchangeRecord(row.id, row, after)),
      );
    }
  }

  async *quarantined(): AsyncGenerator<SealingTask[]> {
    for await (const rows of this.#cache.quarantined(this.#parts.queue('quarantine'))) {
      yield rows.map((row) => this.#recordTask('quarantine', row, row.exchange));
    }
  }

  async *cached(): AsyncGenerator<SealingTask[]> {
    for await (const rows of this.#cache.conversations()) {
      yield rows.map((row) => this.#recordTask('cache', row, row.exchange));
    }
  }

  /** Calls off every refill of a cache that is under way, because it may bring back what was sealed with an old key. */
  async callOffRefills(): Promise<void> {
    await this.#cache.callOffRefills();
  }

  #recordTask(tier: SealedTier, row: SealedRow, exchange: (after: Sealable) => Promise<boolean>): SealingTask {
    const { tokens, textCache } = row;
    const { sealed } = this.#plan;
    const values = [
      ...('sealed' in tokens ? [tokens.sealed] : sealed.tokens ? [null] : []),
      ...(textCache !== null && (isSealed(textCache) || sealed.text) ? [isSealed(textCache) ? textCache : null] : []),
    ];
    const keyIds = this.#otherKeyIds(values);
    return { tier, id: row.id, keyIds, exchange: async () => exchange(this.#resealRecord(row)) };
  }

  /** The ids of the keys other than the first one with which the values are sealed; null for a plain value. */
  #otherKeyIds(values: readonly (string | null)[]): (string | null)[] {
    const keyIds = values.map((value) => (value === null ? null : kidOf(value)));
    return keyIds.filter((keyId) => keyId !== this.#plan.keyring.writerKid);
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

  /** Gives only a value that was seen to open again, because there is no second copy of a wrapped key. */
  #reseal(value: string, purpose: string): string {
    const { keyring } = this.#plan;
    const plain = keyring.open(value, purpose);
    const anew = keyring.seal(plain, purpose);
    if (keyring.open(anew, purpose).equals(plain)) return anew;
    throw new MnemoqError('sealed_data_damaged', `${purpose} does not open as it was sealed`);
  }
}
