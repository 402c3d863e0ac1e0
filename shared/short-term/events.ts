import type { MemoryRecord, Module, PinnedModule, Visibility } from '../records/records.ts';
import { countTokens } from '../records/tokens.ts';
import type { Keys } from './keys.ts';

/**
 * What has happened to records. The first two and the last are written by the script that makes the change (scripts.ts), so
 * such an event is there exactly when its state is. `record.pinned` is written before the summary of the pin and may come
 * twice. Events carry ids, counts and CIDs only: never a text, a token or a key.
 */
export const EVENT_TYPES = ['record.cached', 'records.committed', 'record.pinned', 'record.quarantined'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * How many events are kept at the least, over all parts: some minutes of thirty records a second, in 2 to 3 MB of Redis
 * with ids of usual length, under 40 MB with the longest ones. A follower who is away for longer is told that events were
 * missed.
 */
export const EVENTS_KEPT = 10_000;

/** How many of them one part keeps. */
export function eventsKept({ shards }: Keys): number {
  return Math.ceil(EVENTS_KEPT / shards.length);
}

interface OfRecord {
  id: string;
  contextId: string;
  userId: string | null;
}

export interface EventData {
  'record.cached': OfRecord & { module: Module; tokenCount: number };
  'records.committed': { contextId: string; records: { id: string; userId: string | null; module: Module }[] };
  'record.pinned': OfRecord & {
    module: PinnedModule;
    cid: string;
    sha256: string;
    visibility: Visibility;
    pinnedAt: string;
  };
  /** `supabaseCode` is the SQLSTATE or HTTP status with which Supabase refused the record. */
  'record.quarantined': OfRecord & { module: Module; supabaseCode: string };
  /** The follower was away for so long, or so slow, that events which it has not seen are no longer kept. */
  'events.missed': Record<string, never>;
}

export type EventOf<T extends keyof EventData> = {
  [K in T]: {
    /** The same for every listener, however often it is told; null for `events.missed`. */
    id: K extends EventType ? string : null;
    type: K;
    /** ISO 8601, by the clock of Redis. */
    at: string;
    data: EventData[K];
  };
}[T];
export type StoredEvent = EventOf<EventType>;
export type MemoryEvent = EventOf<keyof EventData>;

export function cachedEvent(record: MemoryRecord): EventData['record.cached'] {
  return { ...ofRecord(record), module: record.module, tokenCount: countTokens(record.tokens) };
}

/** The part of `records.committed` that is about one record. */
export function committedRecord({ id, userId, module }: MemoryRecord): EventData['records.committed']['records'][0] {
  return { id, userId, module };
}

export function quarantinedEvent(record: MemoryRecord, supabaseCode: string): EventData['record.quarantined'] {
  return { ...ofRecord(record), module: record.module, supabaseCode };
}

type Pin = Omit<EventData['record.pinned'], 'userId' | 'module'> & {
  userId?: string | null;
  module?: PinnedModule;
};

export function pinnedEvent(pin: Pin): EventData['record.pinned'] {
  const { id, contextId, userId = null, module = 'reflection', cid, sha256, visibility, pinnedAt } = pin;
  return { id, contextId, userId, module, cid, sha256, visibility, pinnedAt };
}

function ofRecord({ id, contextId, userId }: MemoryRecord): OfRecord {
  return { id, contextId, userId };
}
