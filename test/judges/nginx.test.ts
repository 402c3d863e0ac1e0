import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SupabaseClient } from '@supabase/supabase-js';
import { v7 as uuidv7 } from 'uuid';
import { freePort } from '../../embedded/free-port.ts';
import { eventually } from '../support/faults/eventually.ts';
import { moment } from '../support/inputs/turns.ts';
import { read } from '../support/services/compose.ts';
import { type Postgrest, startPostgrest } from '../support/services/postgrest.ts';
import { supabaseClient } from '../support/services/stack.ts';
import { unpackedPackage } from './runner/needs.ts';
import { run, type Running, start } from './support/programs.ts';

const NGINX = path.join(unpackedPackage('nginx'), 'usr/sbin/nginx');
const MEGABYTE = 1_000_000;

let postgrest: Postgrest;
let nginx: Running;
let dir: string;
let url: string;
let service: SupabaseClient;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-nginx-'));
  postgrest = await startPostgrest();
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  writeFileSync(path.join(dir, 'nginx.conf'), configuration(port));
  nginx = await start(NGINX, nginxArguments());
  await eventually(() =>
    fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  service = supabaseClient(url, postgrest.serviceKey);
});
afterAll(async () => {
  await nginx.stop();
  await postgrest.stop();
  rmSync(dir, { recursive: true });
});

/** A worker of nginx may go to PostgREST's socket only as the user who made it. */
function nginxArguments(): string[] {
  const asRoot = process.getuid?.() === 0 ? ['-g', 'user root;'] : [];
  return ['-e', 'stderr', '-p', dir, '-c', path.join(dir, 'nginx.conf'), ...asRoot];
}

/**
 * The gateway's own configuration, but for what only a container has: its port, its folder /tmp, and the address of PostgREST,
 * which Docker's resolver tells there again and again. `resolve` is understood from nginx 1.27.3 on, and Debian 13 has 1.26.
 */
function configuration(port: number): string {
  return [
    ['/tmp/', `${dir}/`],
    ['listen 8000;', `listen 127.0.0.1:${port};`],
    ['server postgrest:3000 resolve;', `server unix:${postgrest.socketPath};`],
    ['resolver 127.0.0.11 valid=5s ipv6=off;', ''],
  ].reduce((text, [there = '', here = '']) => {
    if (!text.includes(there)) throw new Error(`the configuration has no ${there} any more`);
    return text.replaceAll(there, here);
  }, read('deploy/supabase/gateway.conf'));
}

const row = (contextId: string, more: object = {}) => ({
  id: uuidv7(),
  user_id: 'ann',
  context_id: contextId,
  tokens: { encoding: 'gpt2', user: [1], assistant: [2] },
  module: 'chat',
  created_at: moment(1),
  ...more,
});

test('nginx has nothing against the configuration', async () => {
  const { code, stderr } = await run(NGINX, ['-t', ...nginxArguments()]);
  expect([code, stderr.split('\n').filter((line) => /\[(warn|error|emerg|alert)\]/.test(line))]).toEqual([0, []]);
});

test('answers the health check of compose, and nothing beside PostgREST', async () => {
  expect((await fetch(`${url}/health`)).status).toBe(204);
  for (const other of ['/', '/rest', '/rest/v1', '/auth/v1/user', '/rest/v2/memories', '/rest/v1/../../health/x']) {
    expect([other, (await fetch(url + other, { redirect: 'manual' })).ok]).toEqual([other, false]);
  }
});

test('says no version, and keeps what PostgREST says about itself', async () => {
  const answer = await fetch(`${url}/rest/v1/memories?limit=0`, {
    headers: { authorization: `Bearer ${postgrest.serviceKey}`, prefer: 'count=exact' },
  });
  expect(answer.headers.get('server')).not.toMatch(/\d/);
  expect(answer.headers.get('content-range')).toMatch(/^\*\/\d+$/);
});

describe('supabase-js through the gateway', () => {
  test('writes and reads rows, and counts them', async () => {
    const contextId = `gateway ${randomUUID()}`;
    const rows = [1, 2, 3].map((minute) => row(contextId, { created_at: moment(minute) }));
    await service.from('memories').insert(rows).throwOnError();
    const asked = await service
      .from('memories')
      .select('id', { count: 'exact' })
      .eq('context_id', contextId)
      .order('id');
    expect([asked.count, asked.data]).toEqual([
      3,
      rows.map(({ id }) => ({ id })).toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    ]);
  });

  test('ids with every kind of character arrive as they were', async () => {
    for (const contextId of ['a/b', 'a%2Fb', 'a b+c', '..', 'ä€😀', 'x"y\\z', 'a,b(c)', '?#&=']) {
      const one = row(contextId);
      await service.from('memories').insert(one).throwOnError();
      const { data } = await service.from('memories').select('context_id').eq('id', one.id).eq('context_id', contextId);
      expect(data).toEqual([{ context_id: contextId }]);
    }
  });

  test('lets a body of many megabytes pass, where nginx by itself answers 413 to more than one', async () => {
    const large = row('large', { text_cache: 'x'.repeat(20 * MEGABYTE) });
    expect((await service.from('memories').insert(large)).error).toBeNull();
    const { data } = await service
      .from('memories')
      .select('text_cache')
      .eq('id', large.id)
      .single<{ text_cache: string }>();
    expect(data?.text_cache).toHaveLength(20 * MEGABYTE);
  });

  test('a refusal of PostgREST arrives with its code', async () => {
    const { error, status } = await service.from('memories').insert(row('', {}));
    expect([error?.code, status]).toEqual(['23514', 400]);
    const nobody = supabaseClient(url, 'no token');
    expect((await nobody.from('memories').select('id')).error?.code).toMatch(/^PGRST3/);
  });

  test('an outage of PostgREST is a 502, and over as soon as PostgREST is back', async () => {
    await postgrest.stopApi();
    expect((await service.from('memories').select('id').limit(1)).status).toBe(502);
    await postgrest.startApi();
    await eventually(async () => (await service.from('memories').select('id').limit(1)).status === 200);
  });
});
