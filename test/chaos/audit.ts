import type { Redis } from 'ioredis';
import { Keyring } from '../../shared/secrets/keyring.ts';
import { messageOf } from '../../shared/errors.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { computeCid, Ipfs } from '../../shared/pinning/ipfs.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { MAX_ROWS } from '../../shared/long-term/long-term.ts';
import type { ReflectionRow } from '../../shared/long-term/reflections.ts';
import { parsePosition, positionOf } from '../../shared/records/position.ts';
import { fromCached, fromRow, type MemoryRecord, type MemoryRow } from '../../shared/records/records.ts';
import { decodeTokens, openTokens } from '../../shared/records/tokens.ts';
import type { Findings } from './findings.ts';
import type { Entry, Ledger } from './traffic/ledger.ts';
import { named, type Reader } from './traffic/reader.ts';
import type { Stage } from './storm/stage.ts';

const DOCUMENT_BYTES = 16 * 1024 * 1024;
const FETCHES = 8;
const RECENT = 50;

export interface Audited {
  rows: number;
  cachedRecords: number;
  conversationsRead: number;
  documents: number;
  quarantined: number;
}

/**
 * Compares everything that is stored with the ledger, when nothing moves any more. It looks into the stores itself, without
 * Mnemoq, wherever that is possible.
 */
export class Audit {
  readonly #stage: Stage;
  readonly #ledger: Ledger;
  readonly #reader: Reader;
  readonly #findings: Findings;
  readonly #keys = new Keys(false);
  readonly #keyring: Keyring | null;
  readonly #poisoned: boolean;

  constructor(parts: { stage: Stage; ledger: Ledger; reader: Reader; findings: Findings; poisoned: boolean }) {
    this.#stage = parts.stage;
    this.#ledger = parts.ledger;
    this.#reader = parts.reader;
    this.#findings = parts.findings;
    this.#poisoned = parts.poisoned;
    const { encryptionKeys } = loadConfig(parts.stage.environment, []);
    this.#keyring = encryptionKeys ? new Keyring(encryptionKeys) : null;
  }

  async run(): Promise<Audited> {
    const rows = await this.#auditRows();
    const before = await this.#auditCaches(rows);
    const conversationsRead = await this.#auditReads(rows);
    const cachedRecords = Math.max(before, await this.#auditCaches(rows)); // refilled by the reads
    const documents = await this.#auditDocuments(rows);
    const quarantined = await this.#auditQuarantine();
    await this.#auditJobs();
    return { rows: rows.size, cachedRecords, conversationsRead, documents, quarantined };
  }

  /** In Supabase every acknowledged record is there once, as it was said. */
  async #auditRows(): Promise<Map<string, MemoryRecord>> {
    const rows = new Map<string, MemoryRecord>();
    for await (const row of this.#page<MemoryRow>('memories')) {
      const record = fromRow(row);
      const entry = this.#ledger.find(record.id);
      if (rows.has(record.id)) this.#findings.add('duplicated', `${record.id} has two rows`);
      else if (!entry) this.#findings.add('duplicated', `${record.id} is a row that nobody saved under this id`);
      else this.#compare(record, 'Supabase');
      rows.set(record.id, record);
    }
    for (const entry of this.#ledger.entries) {
      const due = entry.progress !== 'planned' && !this.#isRefused(entry);
      if (due && !rows.has(entry.id)) this.#findings.add('lost', `${named(entry)}: no row`);
      if (this.#isRefused(entry) && rows.has(entry.id)) this.#findings.add('duplicated', `${named(entry)} has a row`);
    }
    return rows;
  }

  /** In Redis hashes and orders agree, and only poisoned records are uncommitted. Returns the number of cached records. */
  async #auditCaches(rows: ReadonlyMap<string, MemoryRecord>): Promise<number> {
    const { redis } = this.#stage;
    let cached = 0;
    for (const contextId of this.#ledger.contextIds) {
      const { floor: _floor, ...hash } = await redis.hgetall(this.#keys.conversation(contextId));
      const order = await redis.zrange(this.#keys.order(contextId), '0', '-1');
      const records = Object.values(hash).map((json) => fromCached(contextId, json));
      for (const record of records) {
        if (this.#ledger.find(record.id)) this.#compare(record, 'the cache');
        else this.#findings.add('duplicated', `${record.id} is cached, and nobody saved it`);
        const row = rows.get(record.id);
        if (row && row.cid !== record.cid) {
          this.#findings.add('wrongCid', `${record.id} is cached with CID ${record.cid}, its row has ${row.cid}`);
        }
      }
      // One of the two keys may have expired between the two commands.
      const positions = records.map(positionOf).toSorted();
      const same = JSON.stringify(positions) === JSON.stringify(order);
      if (!same && order.length > 0 && records.length > 0) {
        this.#findings.add(
          'outOfOrder',
          `the cached order of ${contextId} is not that of its ${records.length} records`,
        );
      }
      cached += records.length;
    }
    await this.#auditUncommitted(redis);
    return cached;
  }

  async #auditUncommitted(redis: Redis): Promise<void> {
    for (const contextId of this.#ledger.contextIds) {
      const positions = await redis.zrange(this.#keys.uncommitted(contextId), '0', '-1');
      for (const position of positions) {
        const entry = this.#ledger.find(parsePosition(position).id);
        if (!entry || !this.#isRefused(entry))
          this.#findings.add('stuck', `${position} of ${contextId} is uncommitted`);
      }
    }
  }

  /** MemoryCore reads every conversation, whole and its newest part: what is stored is also what is read. */
  async #auditReads(rows: ReadonlyMap<string, MemoryRecord>): Promise<number> {
    for (const entry of this.#ledger.entries) {
      const stored = rows.has(entry.id) || (entry.progress !== 'planned' && this.#isRefused(entry));
      if (stored) this.#ledger.expect(entry);
    }
    const contextIds = this.#ledger.contextIds.filter((id) => this.#ledger.finishedOf(id).length > 0);
    for (const contextId of contextIds) {
      await this.#reader.readWhole(contextId);
      await this.#reader.readRecent(contextId, RECENT); // fills the cache up
      await this.#reader.readRecent(contextId, RECENT);
    }
    return contextIds.length;
  }

  /** On IPFS the document of every reflection is pinned, under the CID that its bytes have and that both tables name. */
  async #auditDocuments(rows: ReadonlyMap<string, MemoryRecord>): Promise<number> {
    const reflections = new Map<string, ReflectionRow>();
    for await (const row of this.#page<ReflectionRow>('memory_reflections')) reflections.set(row.id, row);
    const due = this.#ledger.entries.filter(({ id, module }) => module === 'reflection' && rows.has(id));
    const ipfs = new Ipfs(this.#stage.ipfsUrl, 10_000);
    const queue = due.values();
    const fetching = Array.from({ length: FETCHES }, async () => {
      for (const entry of queue) {
        const wrong = await this.#wrongInDocument(reflections.get(entry.id), rows.get(entry.id), ipfs);
        for (const words of wrong) this.#findings.add('wrongCid', `${named(entry)}: ${words}`);
      }
    });
    await Promise.all(fetching);
    return reflections.size;
  }

  async #wrongInDocument(
    row: ReflectionRow | undefined,
    record: MemoryRecord | undefined,
    ipfs: Ipfs,
  ): Promise<string[]> {
    if (!row) return ['no row in memory_reflections'];
    const { cid, pinned_at: pinnedAt } = row;
    if (pinnedAt === null) return [`${cid} is not marked as pinned`];
    if (record?.cid !== cid) return [`memories names ${record?.cid}, memory_reflections ${cid}`];
    try {
      const computed = await computeCid(await ipfs.fetch(cid, DOCUMENT_BYTES));
      if (computed !== cid) return [`the bytes behind ${cid} have CID ${computed}`];
      if (!(await ipfs.isPinned(cid))) return [`${cid} is not pinned`];
      return await this.#reader.verify(cid);
    } catch (error) {
      return [messageOf(error)];
    }
  }

  /** Only poisoned records are in quarantine. */
  async #auditQuarantine(): Promise<number> {
    const ids = await this.#stage.redis.zrange('bull:quarantine:failed', '0', '-1');
    for (const id of ids) {
      const entry = this.#ledger.find(id);
      if (!entry || !this.#isRefused(entry)) this.#findings.add('wronglyQuarantined', entry ? named(entry) : id);
    }
    for (const entry of this.#ledger.entries) {
      const due = entry.progress !== 'planned' && this.#isRefused(entry);
      if (due && !ids.includes(entry.id)) this.#findings.add('lost', `${named(entry)} is not in quarantine`);
    }
    return ids.length;
  }

  /** No job has failed that was not meant to fail, and a worker that was stopped or killed has cost no job an attempt. */
  async #auditJobs(): Promise<void> {
    const { redis } = this.#stage;
    for (const queue of ['chat', 'reflection', 'flush'] as const) {
      for (const id of await redis.zrange(`bull:${queue}:failed`, '0', '-1')) {
        const reason = (await redis.hget(`bull:${queue}:${id}`, 'failedReason')) ?? '';
        // A flush that meets an outage fails visibly, and its records stay pending.
        if (queue === 'flush' && reason.startsWith('flush stopped (')) continue;
        this.#findings.add('failedJobs', `${queue} ${id}: ${reason}`);
      }
    }
    for (const queue of ['chat', 'reflection'] as const) {
      for (const id of await redis.zrange(`bull:${queue}:completed`, '0', '-1')) {
        const attempts = Number(await redis.hget(`bull:${queue}:${id}`, 'atm'));
        if (attempts > 1) this.#findings.add('attemptsCounted', `${queue} ${id}: ${attempts} attempts`);
      }
    }
  }

  #compare(record: MemoryRecord, where: string): void {
    const { id, textCache } = record;
    const text = decodeTokens(openTokens(record.tokens, this.#keyring, id));
    const said = 'text' in text ? { text: text.text } : { user: text.user, assistant: text.assistant };
    const wrong = this.#ledger.differences(record, said);
    const kept = textCache === null ? null : this.#keyring?.open(textCache, `text:${id}`).toString();
    if (kept !== null && kept !== JSON.stringify(said)) wrong.push('textCache');
    if (wrong.length > 0) this.#findings.add('wrongText', `${id} in ${where}: ${wrong.join(', ')}`);
  }

  #isRefused({ poison }: Entry): boolean {
    return poison && this.#poisoned;
  }

  /** Reads all rows of a table, without Mnemoq. */
  async *#page<Row extends { id: string }>(table: string): AsyncGenerator<Row> {
    for (let last = '00000000-0000-0000-0000-000000000000'; ;) {
      const { data, error } = await this.#stage.supabase
        .from(table)
        .select('*')
        .gt('id', last)
        .order('id')
        .limit(MAX_ROWS);
      if (error) throw new Error(`reading ${table} past Mnemoq failed: ${error.message}`);
      const rows = data as Row[];
      yield* rows;
      last = rows.at(-1)?.id ?? last;
      if (rows.length < MAX_ROWS) return;
    }
  }
}
