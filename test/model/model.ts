import type { ChatJob } from '../../shared/records/jobs.ts';

/** A record's text as every read must give it back. */
export type ModelText = { userMessage: string; assistantMessage: string } | { text: string };

/** A record as its caller may think of it. The flags are promises of the README, not places in Redis. */
export interface ModelRecord {
  id: string;
  contextId: string;
  createdAt: string;
  text: ModelText;
  /** The job that saved it; a reflection is delivered once only and keeps none. */
  job: ChatJob | null;
  /** Its job waits for a worker. */
  queued: boolean;
  /** The queue still knows its job, so that saving it again changes nothing. */
  jobKept: boolean;
  /** Its worker was through with it at least once: it must be in every read from now on. */
  remembered: boolean;
  /** The next flush takes it. */
  pending: boolean;
  /** Refused by Supabase, waits for a person, and is still read. */
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
  /** False since somebody else has finished what was taken. */
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

/** What is seen from outside: ids that are pending, and ids that have a row. */
export interface Seen {
  pending: ReadonlySet<string>;
  rows: ReadonlySet<string>;
}

/**
 * Mnemoq without its stores: what must be true of every record after every step. It knows nothing of caches, floors, trimming
 * and times to live, because none of them may show. Where a step may end in more than one way (a flush stopped half
 * way), the model looks which one it was and refuses what no step may do.
 */
export class Model {
  readonly records = new Map<string, ModelRecord>();
  /** Ids by what their caller calls them: an explicit id or an idempotency key of a conversation. */
  readonly ids = new Map<string, string>();
  /** What a flush worker took and has not finished. */
  held: HeldRecord[] | null = null;
  /** Conversations somebody is refilling. */
  readonly refilling = new Set<string>();
  /** Steps so far: makes texts and page sizes differ without another random choice. */
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

  /** A conversation as every read must give it: all its workers are through with, in order. */
  conversation(contextId: string): ModelRecord[] {
    return this.where((record) => record.contextId === contextId && record.remembered).toSorted(byTimeThenId);
  }

  /** A conversation of which something is nowhere but in Redis, so that it must not expire. */
  hasUncommitted(contextId: string): boolean {
    return this.where((record) => record.contextId === contextId && (record.pending || record.aside)).length > 0;
  }

  /** A worker is through with a turn. Only one that was committed may go either way: a cache may have forgotten it. */
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

  /** A flush has ended: nothing that was pending may be gone, and what it says it did is what it did. */
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
   * The worker that stood still is through, without a failure. What somebody else has finished meanwhile is no longer its
   * business, also where it is pending once more.
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

/** In a form that compares as text: of Mnemoq, which tells three digits of a second or six, and of PostgREST, which tells none to six. */
export function toMicroseconds(createdAt: string): string {
  const [, seconds = '', fraction = ''] = /^(.{19})(?:\.(\d+))?(?:Z|\+00:00)$/.exec(createdAt) ?? [];
  return `${seconds}.${fraction.padEnd(6, '0')}`;
}
