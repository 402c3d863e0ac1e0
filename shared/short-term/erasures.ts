import { MnemoqError } from '../errors.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from '../redis/connection.ts';

/** Whose records are meant: those of a user, those of a conversation, or those of a user in a conversation. */
export interface ErasureScope {
  userId?: string | undefined;
  contextId?: string | undefined;
}

export const ERASED_MESSAGE =
  'this user or conversation was erased: nothing of it is taken until the erasure is lifted (mnemoq forget --lift)';

/**
 * The users and conversations that were erased and may not come back: a record of theirs that arrives late is refused where
 * it would be remembered. A user who was erased in one conversation only may go on there, so only whole users and whole
 * conversations are kept here.
 */
export class Erasures {
  readonly #redis: RedisClient;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async add({ userId, contextId }: ErasureScope, at: string): Promise<void> {
    if (userId !== undefined && contextId !== undefined) return;
    await Promise.all(
      this.#shards(contextId).map((shard) => this.#redis.hset(this.#keys.erased(shard), field(userId, contextId), at)),
    );
  }

  /** Takes the records of the user or conversation again from now on; false when it was not erased. */
  async lift({ userId, contextId }: ErasureScope): Promise<boolean> {
    const shards = this.#shards(contextId);
    const lifted = await Promise.all(
      shards.map((shard) => this.#redis.hdel(this.#keys.erased(shard), field(userId, contextId))),
    );
    return lifted.some((count) => count > 0);
  }

  /** Throws `erased` where records of this user in this conversation are not taken. */
  async refuse(userId: string | undefined, contextId: string): Promise<void> {
    const kept = await this.spare([{ userId: userId ?? null, contextId }]);
    if (kept.length === 0) throw new MnemoqError('erased', ERASED_MESSAGE);
  }

  /** The records that belong to no erased user and to no erased conversation, in their order. */
  async spare<T extends { userId: string | null; contextId: string }>(records: readonly T[]): Promise<T[]> {
    const erased = await Promise.all(
      [...Map.groupBy(records, ({ contextId }) => this.#keys.shardOf(contextId))].map(async ([shard, its]) => {
        const fields = [...new Set(its.flatMap(fieldsOf))];
        const found = await this.#redis.hmget(this.#keys.erased(shard), ...fields);
        return fields.filter((_, index) => found[index] !== null);
      }),
    );
    const gone = new Set(erased.flat());
    return records.filter((record) => fieldsOf(record).every((each) => !gone.has(each)));
  }

  /** The parts in which an erasure is marked. A user may write into any conversation, so a user is marked in every part. */
  #shards(contextId: string | undefined): readonly string[] {
    return contextId === undefined ? this.#keys.shards : [this.#keys.shardOf(contextId)];
  }
}

/** The fields of `memory:erased` that refuse a record: that of its conversation and that of its user. */
function fieldsOf({ userId, contextId }: { userId: string | null; contextId: string }): string[] {
  return [field(undefined, contextId), ...(userId === null ? [] : [field(userId, undefined)])];
}

function field(userId: string | undefined, contextId: string | undefined): string {
  return userId === undefined ? `conversation:${contextId}` : `user:${userId}`;
}
