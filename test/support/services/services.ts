import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startOwnSupabase } from './own-supabase.ts';
import { preferChosenRedis } from './redis-programs.ts';
import { CHOSEN_SUPABASE, type SupabaseName, type SupabaseService } from './supabase-service.ts';

const stops: (() => Promise<void>)[] = [];

/**
 * Starts one Supabase for all test files, which keep apart by conversation ids of their own; with the embedded one chosen,
 * PostgREST as well for the files that name it. A file that breaks its Supabase puts a FaultProxy in front or starts one
 * for itself.
 */
export default async function startServices(): Promise<void> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-test-'));
  stops.push(async () => rmSync(dir, { recursive: true, force: true }));
  preferChosenRedis(dir);
  const names = new Set<SupabaseName>(['postgrest', CHOSEN_SUPABASE]);
  const services = await Promise.all([...names].map((name) => startOwnSupabase(name)));
  stops.unshift(...services.map(({ stop }) => stop));
  process.env['MNEMOQ_TEST_SERVICES'] = JSON.stringify(services satisfies SupabaseService[]);
}

export async function stopServices(): Promise<void> {
  for (const stop of stops) await stop();
}
