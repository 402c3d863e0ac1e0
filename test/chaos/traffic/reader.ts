import { setTimeout as sleep } from 'node:timers/promises';
import { type ContextRecord, MemoryCore } from '../../../producers/index.ts';
import { isError, MnemoqError, messageOf } from '../../../shared/errors.ts';
import { positionOf } from '../../../shared/records/position.ts';
import type { RecordText } from '../../../shared/records/tokens.ts';
import type { Findings } from '../findings.ts';
import type { Entry, Ledger } from './ledger.ts';
import { oneOf, type Random, randomOf, wholeFrom } from '../random.ts';

const READERS = 2;
const PAUSE_MS = 60;
const PAGE = 100;
/** How long a reader may need until it reaches its parts again. */
const PATIENCE_MS = 30_000;
/** The codes with which a read may fail while something is broken. A read may never be wrong. */
const TRANSIENT = ['redis_unavailable', 'supabase_unavailable'] as const;

/** Which read it was, for the words of a finding. */
interface Reading {
  contextId: string;
  how: string;
}

/** Reads conversations while they are being written, and compares what it sees with the ledger. */
export class Reader {
  readonly #memory: MemoryCore;
  readonly #ledger: Ledger;
  readonly #findings: Findings;
  /** The number of reads that gave an answer, and of those that failed as they may. */
  readonly reads = { answered: 0, failed: 0 };

  constructor(environment: Record<string, string>, ledger: Ledger, findings: Findings) {
    this.#memory = new MemoryCore({ ...environment, MEMORY_LOG_LEVEL: 'silent' });
    this.#ledger = ledger;
    this.#findings = findings;
  }

  /** Makes several reads at once, until it is told to stop. */
  async run(seed: string, signal: AbortSignal): Promise<void> {
    const lanes = Array.from({ length: READERS }, async (_, lane) => {
      const random = randomOf(`${seed} reader ${lane}`);
      while (!signal.aborted) {
        await this.#attempt(() => this.#readSomething(random));
        await sleep(PAUSE_MS);
      }
    });
    await Promise.all(lanes);
  }

  /** Reads a conversation from beginning to end, page by page. */
  async readWhole(contextId: string): Promise<void> {
    const due = this.#ledger.finishedOf(contextId);
    const records: ContextRecord[] = [];
    let cursor: string | null = null;
    do {
      const options: { cursor?: string } = cursor === null ? {} : { cursor };
      const page = await this.#memory.getMemoryContext(contextId, { limit: PAGE, ...options });
      records.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== null);
    this.#check({ contextId, how: 'whole' }, records, due);
  }

  /** Reads the newest records of a conversation. */
  async readRecent(contextId: string, limit: number): Promise<void> {
    const due = this.#ledger.finishedOf(contextId);
    const { items } = await this.#memory.loadRecentContext(contextId, { limit });
    const [oldest] = items;
    const border = items.length === limit && oldest ? positionOf(oldest) : '';
    const dueNow = due.filter(({ position }) => position >= border);
    this.#check({ contextId, how: `newest ${limit}` }, items, dueNow);
  }

  /** Tells whether a read gets an answer, at once or after a while. All parts are there by then. */
  async isAnswered(contextId: string): Promise<boolean> {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(PAUSE_MS)) {
      const answered = await this.#memory.loadRecentContext(contextId).catch(() => null);
      if (answered) return true;
    }
    return false;
  }

  async verify(cid: string): Promise<string[]> {
    const { checks } = await this.#memory.verify(cid);
    return checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
  }

  async close(): Promise<void> {
    await this.#memory.close();
  }

  async #readSomething(random: Random): Promise<void> {
    const contextIds = this.#ledger.contextIds;
    // The liveliest conversations are read more often, because most can go wrong in them.
    const contextId = contextIds[Math.floor(contextIds.length * random() ** 2)] ?? '';
    const pick = random();
    if (pick < 0.2) await this.#askForStatus(contextId, random);
    else if (pick < 0.4) await this.readWhole(contextId);
    else await this.readRecent(contextId, oneOf([1, 5, 20, 50, wholeFrom(1, 200, random)], random));
  }

  /** Asks for the status of a record. Once it has left its queue, every read must have it from now on. */
  async #askForStatus(contextId: string, random: Random): Promise<void> {
    const [first, ...rest] = this.#ledger.acknowledgedOf(contextId).filter(({ progress }) => progress !== 'finished');
    if (!first) return;
    const entry = oneOf([first, ...rest], random);
    const { status, reason } = await this.#memory.getStatus(entry.id).catch((error: unknown) => {
      if (!isError(error, 'not_found')) throw error;
      return { status: 'lost', reason: 'no tier knows it' };
    });
    if (status === 'queued') return;
    if (status === 'lost') this.#findings.add('lost', `${named(entry)}: acknowledged, and ${reason}`);
    else if (status === 'failed') this.#findings.add('failedJobs', `${named(entry)}: ${reason}`);
    else this.#ledger.expect(entry);
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.reads.answered += 1;
    } catch (error) {
      this.reads.failed += 1;
      if (TRANSIENT.some((code) => isError(error, code))) return;
      const code = error instanceof MnemoqError ? error.code : 'unexpected';
      this.#findings.add('failedReads', `${code}: ${messageOf(error)}`);
    }
  }

  #check(reading: Reading, records: readonly ContextRecord[], due: readonly Entry[]): void {
    const where = `${reading.contextId}, ${reading.how}`;
    const seen = new Set<string>();
    let last = '';
    for (const record of records) {
      const position = positionOf(record);
      if (seen.has(record.id)) this.#findings.add('duplicated', `${record.id} twice in a read of ${where}`);
      else if (position < last) this.#findings.add('outOfOrder', `${position} after ${last} in a read of ${where}`);
      seen.add(record.id);
      last = position;
      const wrong = this.#ledger.differences(record, textIn(record));
      if (wrong.length > 0) this.#findings.add('wrongText', `${record.id} in a read of ${where}: ${wrong.join(', ')}`);
    }
    for (const entry of due) {
      if (!seen.has(entry.id)) this.#findings.add('lost', `${named(entry)} is missing in a read of ${where}`);
    }
  }
}

function textIn({ text, userMessage = '', assistantMessage = '' }: ContextRecord): RecordText {
  return text === undefined ? { user: userMessage, assistant: assistantMessage } : { text };
}

/** Describes a record in words. */
export function named({ number, id, module, acknowledgedAt }: Entry): string {
  const when = acknowledgedAt === 0 ? 'never acknowledged' : `acknowledged ${new Date(acknowledgedAt).toISOString()}`;
  return `${module} of line ${number}, ${id}, ${when}`;
}
