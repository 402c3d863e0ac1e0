import type { MemoryRecord } from '../../../shared/records/records.ts';
import { positionOf } from '../../../shared/records/position.ts';
import type { RecordText } from '../../../shared/records/tokens.ts';
import { idOf, type Script } from './script.ts';

/**
 * How far a line has come, by what its producer was told or what a reader has seen. From `finished` on every read must have it.
 */
type Progress = 'planned' | 'acknowledged' | 'finished';

/** One record that may be in the memory, and what its producer knows about it. */
export interface Entry {
  number: number;
  id: string;
  contextId: string;
  userId: string;
  createdAt: string;
  position: string;
  module: 'chat' | 'reflection';
  poison: boolean;
  progress: Progress;
  /** The time at which it was first acknowledged; 0 before that. */
  acknowledgedAt: number;
}

/** Keeps what was promised: every record of the script, and which of them the memory has acknowledged. */
export class Ledger {
  readonly #script: Script;
  readonly #entries: Entry[] = [];
  readonly #byId = new Map<string, Entry>();
  readonly #conversations: Map<string, Entry[]>;
  #acknowledged = 0;

  constructor(script: Script) {
    this.#script = script;
    for (let number = 0; number < script.length; number += 1) {
      const line = script.line(number);
      const { contextId, userId = '', createdAt: given = '' } = line.input;
      const createdAt = given.endsWith('Z') ? given : new Date(given).toISOString(); // it is kept in UTC
      const id = idOf(line);
      const entry: Entry = {
        number,
        id,
        contextId,
        userId,
        createdAt,
        position: positionOf({ id, createdAt }),
        module: line.kind === 'turn' ? 'chat' : 'reflection',
        poison: line.poison,
        progress: 'planned',
        acknowledgedAt: 0,
      };
      this.#entries.push(entry);
      this.#byId.set(id, entry);
    }
    this.#conversations = Map.groupBy(this.#entries, ({ contextId }) => contextId);
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get acknowledgedCount(): number {
    return this.#acknowledged;
  }

  /** The ids of the conversations, the liveliest first. */
  get contextIds(): string[] {
    return [...this.#conversations].toSorted(([, a], [, b]) => b.length - a.length).map(([contextId]) => contextId);
  }

  find(id: string): Entry | undefined {
    return this.#byId.get(id);
  }

  /** Returns what every read of a conversation that begins now must have. */
  finishedOf(contextId: string): Entry[] {
    return (this.#conversations.get(contextId) ?? []).filter(({ progress }) => progress === 'finished');
  }

  acknowledgedOf(contextId: string): Entry[] {
    return (this.#conversations.get(contextId) ?? []).filter(({ progress }) => progress !== 'planned');
  }

  /** Records that a producer was told of a save. The save is `finished` when the producer has waited for the worker. */
  acknowledge(number: number, finished: boolean): void {
    const entry = this.#entries[number];
    if (!entry) throw new Error(`the script has no line ${number}`);
    if (entry.acknowledgedAt === 0) {
      this.#acknowledged += 1;
      entry.acknowledgedAt = Date.now();
    }
    if (finished) entry.progress = 'finished';
    else if (entry.progress === 'planned') entry.progress = 'acknowledged';
  }

  /** Records that somebody has seen it stored, acknowledged or not: from now on every read must have it. */
  expect(entry: Entry): void {
    entry.progress = 'finished';
  }

  /** Returns the text that a record must have. */
  textOf(entry: Entry): RecordText {
    const line = this.#script.line(entry.number);
    return line.kind === 'turn'
      ? { user: line.input.userMessage, assistant: line.input.assistantMessage }
      : { text: line.input.reflectionText };
  }

  /** Returns the names of the fields in which a stored record differs from what was saved under its id. */
  differences(record: Omit<MemoryRecord, 'tokens' | 'textCache' | 'cid'>, text: RecordText): string[] {
    const entry = this.#byId.get(record.id);
    if (!entry) return ['id'];
    const heads = (['contextId', 'userId', 'createdAt', 'module'] as const).filter(
      (field) => record[field] !== entry[field],
    );
    return JSON.stringify(text) === JSON.stringify(this.textOf(entry)) ? heads : [...heads, 'text'];
  }
}
