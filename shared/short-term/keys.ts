/**
 * Every Redis key of Mnemoq, in one place. BullMQ keeps its own under the queue prefix.
 *
 * | key | type | holds |
 * |---|---|---|
 * | `memory:conversation:<contextId>` | hash | record id → cached record (JSON); field `floor` → see short-term.ts |
 * | `memory:order:<contextId>` | sorted set | positions of all cached records; all have score 0, so they are ordered by position |
 * | `memory:uncommitted:<contextId>` | sorted set | positions of the records that are not in Supabase yet |
 * | `memory:refill:<contextId>` | string | token of the one refill that is under way |
 * | `memory:reflection:<id>` | string | a reflection's summary with its CID (JSON) |
 * | `memory:reflector:<contextId>` | hash | for each user: how many turns there were, how many of them were reflected on, when the last came, what was asked for |
 * | `memory:pending` | stream | one entry per record to flush: contextId, id, size, its trace |
 * | `memory:pending-index` | hash | record id → `<stream entry> <contextId>`, while pending |
 * | `memory:erased` | hash | `user:<id>` or `conversation:<id>` → when it was erased; nothing of it is taken any more |
 * | `memory:events` | stream | what has happened, the newest ones: `type` and `data` (JSON) → see events.ts |
 * | `memory:last-time` | string | the last microsecond that a record without a time of its own was given |
 * | `memory:webhook-cursor` | string | the last event for which a `webhook` job was made |
 *
 * The caller's id stands last in a key, after a prefix that no other type of key has, so no id can make two keys collide.
 *
 * On Redis Cluster all keys of one conversation and its part of the pending stream must live in one slot, because a step is
 * one script. Conversations are spread over CLUSTER_SHARDS parts, and a hash tag with the number of the part stands before
 * the id: `memory:conversation:{7}:<contextId>`, `memory:pending:{7}`. A single Redis has one part and no tags.
 */
export class Keys {
  /** How many parts there are: a multiple of usual node counts, and few enough to look through one by one. */
  static readonly CLUSTER_SHARDS = 12;

  readonly shards: readonly string[];
  readonly queuePrefix: string;
  readonly #cluster: boolean;

  constructor(cluster: boolean) {
    this.#cluster = cluster;
    this.shards = cluster ? Array.from({ length: Keys.CLUSTER_SHARDS }, (_, part) => `{${part}}`) : [''];
    this.queuePrefix = cluster ? '{bull}' : 'bull';
  }

  conversation(contextId: string): string {
    return this.#of('memory:conversation', contextId);
  }

  /** A pattern for SCAN that finds the cached conversations. */
  get conversations(): string {
    return 'memory:conversation:*';
  }

  /** A pattern for SCAN that finds the conversations that have something uncommitted. */
  get uncommittedConversations(): string {
    return 'memory:uncommitted:*';
  }

  /** A pattern for SCAN that finds the refills that are under way. */
  get refills(): string {
    return 'memory:refill:*';
  }

  /** The conversation of a key that one of these patterns has found. */
  contextIdOf(key: string): string {
    return key.replace(this.#cluster ? /^memory:\w+:\{\d+\}:/ : /^memory:\w+:/, '');
  }

  order(contextId: string): string {
    return this.#of('memory:order', contextId);
  }

  uncommitted(contextId: string): string {
    return this.#of('memory:uncommitted', contextId);
  }

  refill(contextId: string): string {
    return this.#of('memory:refill', contextId);
  }

  reflector(contextId: string): string {
    return this.#of('memory:reflector', contextId);
  }

  /** A pattern for SCAN that finds the conversations in which something is counted or asked for. */
  get reflectors(): string {
    return 'memory:reflector:*';
  }

  reflection(id: string): string {
    return `memory:reflection:${id}`;
  }

  pending(shard: string): string {
    return shard ? `memory:pending:${shard}` : 'memory:pending';
  }

  pendingIndex(shard: string): string {
    return shard ? `memory:pending-index:${shard}` : 'memory:pending-index';
  }

  /** Every part has this key, because the step that remembers a record looks into it. */
  erased(shard: string): string {
    return shard ? `memory:erased:${shard}` : 'memory:erased';
  }

  events(shard: string): string {
    return shard ? `memory:events:${shard}` : 'memory:events';
  }

  /** Holds the last time that was given to a record, of every part → see order.ts. */
  lastTime(shard: string): string {
    return shard ? `memory:last-time:${shard}` : 'memory:last-time';
  }

  /** Holds how far the webhook worker has come with the events of all parts. */
  get webhookCursor(): string {
    return 'memory:webhook-cursor';
  }

  /** The part that a conversation belongs to, by FNV-1a over its id, so it is the same in every process and release. */
  shardOf(contextId: string): string {
    if (!this.#cluster) return '';
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(contextId)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    return `{${hash % Keys.CLUSTER_SHARDS}}`;
  }

  #of(prefix: string, contextId: string): string {
    const shard = this.shardOf(contextId);
    return shard ? `${prefix}:${shard}:${contextId}` : `${prefix}:${contextId}`;
  }
}
