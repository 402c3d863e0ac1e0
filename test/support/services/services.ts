import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadSecrets, type Secrets } from '../../../embedded/secrets.ts';
import { startSupabase } from '../../../embedded/supabase.ts';
import { startPostgrest } from './postgrest.ts';
import { preferChosenRedis } from './redis-programs.ts';

/** A Supabase the tests may use: its address and its keys. */
export interface SupabaseService {
  name: 'embedded' | 'postgrest';
  url: string;
  serviceKey: string;
  anonKey: string;
  /** Signs users' tokens. */
  jwtSecret: string;
}

const stops: (() => Promise<void>)[] = [];

/**
 * Starts both Supabases once for all test files, which keep apart by conversation ids of their own. A file that breaks
 * its Supabase puts a FaultProxy in front or starts one for itself.
 */
export default async function startServices(): Promise<void> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-test-'));
  stops.push(async () => rmSync(dir, { recursive: true, force: true }));
  preferChosenRedis(dir);
  const secrets: Secrets = loadSecrets(dir);
  const [embedded, postgrest] = await Promise.all([
    startSupabase(path.join(dir, 'supabase'), secrets),
    startPostgrest(),
  ]);
  stops.unshift(
    () => embedded.stop(),
    () => postgrest.stop(),
  );
  const services: SupabaseService[] = [
    {
      name: 'embedded',
      url: embedded.url,
      serviceKey: secrets.secretKey,
      anonKey: secrets.publishableKey,
      jwtSecret: secrets.jwtSecret,
    },
    {
      name: 'postgrest',
      url: postgrest.url,
      serviceKey: postgrest.serviceKey,
      anonKey: postgrest.anonKey,
      jwtSecret: postgrest.jwtSecret,
    },
  ];
  process.env['MNEMOQ_TEST_SERVICES'] = JSON.stringify(services);
}

export async function stopServices(): Promise<void> {
  for (const stop of stops) await stop();
}
