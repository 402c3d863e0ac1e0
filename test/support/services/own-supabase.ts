import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadSecrets } from '../../../embedded/secrets.ts';
import { startSupabase } from '../../../embedded/supabase.ts';
import { startPostgrest } from './postgrest.ts';
import { CHOSEN_SUPABASE, type SupabaseName, type SupabaseService } from './supabase-service.ts';

export type OwnSupabase = SupabaseService & { stop: () => Promise<void> };

/** A Supabase that belongs to the caller alone. */
export async function startOwnSupabase(name: SupabaseName = CHOSEN_SUPABASE): Promise<OwnSupabase> {
  if (name === 'postgrest') {
    const server = await startPostgrest();
    const { url, serviceKey, anonKey, jwtSecret } = server;
    return { name, url, serviceKey, anonKey, jwtSecret, stop: async () => server.stop() };
  }
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-supabase-'));
  const { secretKey, publishableKey, jwtSecret } = loadSecrets(dir);
  const server = await startSupabase(path.join(dir, 'supabase'), { secretKey, publishableKey, jwtSecret });
  const stop = async () => {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  return { name, url: server.url, serviceKey: secretKey, anonKey: publishableKey, jwtSecret, stop };
}
