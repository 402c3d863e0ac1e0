import type { ChatJob } from '../../shared/records/jobs.ts';

/** The text of a record as every read must return it. */
export type ModelText = { userMessage: string; assistantMessage: string } | { text: string };

/** A record as its caller may think of it. The flags stand for promises of the documentation, not for places in Redis. */
export interface ModelRecord {
  id: string;
  contextId: string;
  createdAt: string;
  text: ModelText;
  /** The job that saved it. A reflection is delivered only once, so its job is not kept. */
  job: ChatJob | null;
  /** Its job waits for a worker. */
  queued: boolean;
  /** The queue still knows its job, so that saving it again changes nothing. */
  jobKept: boolean;
  /** Its worker was through with it at least once, so every read must have it from now on. */
  remembered: boolean;
  /** The next flush takes it. */
  pending: boolean;
  /** Supabase has refused it. It waits for a person, and reads still have it. */
  aside: boolean;
  /** Its job waits in quarantine. */
  quarantined: boolean;
  /** Supabase has its row. */
  row: boolean;
  /** Supabase will refuse what Redis holds of it. */
  spoiled: boolean;
}

/** A record as it was when a flush worker took it. */
export interface HeldRecord {
  id: string;
  spoiled: boolean;
  /** It is false from the moment when somebody else has finished what was taken. */
  due: boolean;
}

/** What one flush reported. */
export interface ModelFlush {
  /** Whether it must have taken everything. */
  whole: boolean;
  /** Whether Supabase may have committed rows without the flush hearing of it. */
  deaf: boolean;
  flushedCount: number;
  failedCount: number;
}

/** What can be seen from outside: the ids that are pending, and the ids that have a row. */
export interface Seen {
  pending: ReadonlySet<string>;
  rows: ReadonlySet<string>;
}

/**
 * Mnemoq without its stores: what must be true of every record after every step. The model knows nothing of caches, floors,
 * trimming and times to live, because none of them may be noticed. Where a step may end in more than one way (a flush that was
 * stopped half way), the model looks at how it has ended, and fails for an end that is not allowed.
 */
export class Model {
  readonly records = new Map<string, ModelRecord>();
  /** The ids of records by the names that their callers use: an explicit id, or an idempotency key of a conversation. */
  readonly ids = new Map<string, string>();
  /** The records that a flush worker has taken and not finished. */
  held: HeldRecord[] | null = null;
  /** The conversations that somebody is refilling. */
  readonly refilling = new Set<string>();
  /** The number of steps so far. It makes texts and page sizes differ without another random choice. */
  steps = 0;

  add(record: Pick<ModelRecord, 'id' | 'contextId' | 'createdAt' | 'text' | 'job'>): ModelRecord {
    const fresh = { queued: false, jobKept: false, remembered: false, pending: false, aside: false };
    const added = { ...record, ...fresh, quarantined: false, row: false, spoiled: false };
    this.records.set(record.id, added);
    return added;
  }

  find(id: string): ModelRecord {
    const found = this.records.get(id);
    if (!found) throw new Error(`nobody saved ${id}`);
    return found;
  }

  where(condition: (record: ModelRecord) => boolean): ModelRecord[] {
    return [...this.records.values()].filter(condition);
  }

  idsWhere(condition: (record: ModelRecord) => boolean): string[] {
    return this.where(condition)
      .map(({ id }) => id)
      .toSorted();
  }

  /** Returns a conversation as every read must return it: all records that its workers are through with, in order. */
  conversation(contextId: string): ModelRecord[] {
    return this.where((record) => record.contextId === contextId && record.remembered).toSorted(byTimeThenId);
  }

  /** Tells whether something of a conversation is only in Redis, so that it must not expire. */
  hasUncommitted(contextId: string): boolean {
    return this.where((record) => record.contextId === contextId && (record.pending || record.aside)).length > 0;
  }

  /**
   * A worker is through with a turn. Only a turn that was committed may become pending again or not: the cache may have
   * forgotten it.
   */
  deliver(record: ModelRecord, commits: boolean, pendingNow: boolean): void {
    const fresh = !record.remembered || (!record.pending && !record.aside && pendingNow);
    record.remembered = true;
    if (commits) {
      this.#finish(record);
      Object.assign(record, { aside: false, row: true, spoiled: false });
      if (pendingNow) throw new Error(`${record.id} was committed at once and is pending all the same`);
    } else if (fresh) {
      Object.assign(record, { pending: true, spoiled: false });
    }
  }

  /** A flush has ended. Nothing that was pending may be lost, and its counts must be right. */
  settle(seen: Seen, flush: ModelFlush): void {
    let flushed = 0;
    let refused = 0;
    for (const record of this.where(({ pending }) => pending)) {
      const stays = seen.pending.has(record.id);
      const committed = seen.rows.has(record.id);
      if (stays && flush.whole) throw new Error(`${record.id} is pending after a flush that took everything`);
      if (stays && committed && !record.row && !flush.deaf) throw new Error(`${record.id} has a row and is pending`);
      if (!stays && !record.spoiled && !committed) throw new Error(`${record.id} left Redis before Supabase had it`);
      if (committed && !record.row && record.spoiled) throw new Error(`Supabase took ${record.id}, which it refuses`);
      if (!stays && record.spoiled) refused += 1;
      else if (!stays) flushed += 1;
      record.row = committed;
      if (!stays) this.#finish(record);
      if (!stays && record.spoiled) Object.assign(record, { aside: true, quarantined: true });
    }
    const [saidFlushed, saidRefused] = [flush.flushedCount, flush.failedCount];
    if (saidFlushed !== flushed || saidRefused !== refused)
      throw new Error(`a flush says ${saidFlushed} committed, ${saidRefused} refused: ${flushed}, ${refused} are`);
  }

  /**
   * The worker that stood still is through, without a failure. It no longer decides about a record that somebody else has
   * finished meanwhile, even if that record is pending once more.
   */
  settleHeld(): void {
    for (const { id, spoiled, due } of this.held ?? []) {
      const record = this.find(id);
      if (due) this.#finish(record);
      if (spoiled) Object.assign(record, { quarantined: true, aside: record.aside || due });
      else record.row = true;
    }
    this.held = null;
  }

  #finish(record: ModelRecord): void {
    record.pending = false;
    for (const held of this.held ?? []) {
      if (held.id === record.id) held.due = false;
    }
  }
}

function byTimeThenId(a: ModelRecord, b: ModelRecord): number {
  const [timeA, timeB] = [toMicroseconds(a.createdAt), toMicroseconds(b.createdAt)];
  if (timeA !== timeB) return timeA < timeB ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}

/**
 * Brings a time into a form that compares as text. Mnemoq writes three or six digits of a second, PostgREST and the embedded
 * Supabase write none to six.
 */
export function toMicroseconds(createdAt: string): string {
  const [, day, time, fraction = ''] = /^(\S{10})[T ]([\d:]{8})(?:\.(\d+))?(?:Z|\+00|\+00:00)$/.exec(createdAt) ?? [];
  if (time === undefined) throw new Error(`${createdAt} is no time in UTC`);
  return `${day}T${time}.${fraction.padEnd(6, '0')}`;
}
