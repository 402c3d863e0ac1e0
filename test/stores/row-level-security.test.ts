import { createHmac, randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { SupabaseClient } from '@supabase/supabase-js';
import { v7 as uuidv7 } from 'uuid';
import { supabaseClient, supabaseService } from '../support/services/stack.ts';
import { moment } from '../support/inputs/turns.ts';

function userToken(secret: string, userId: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 600;
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ role: 'authenticated', aud: 'authenticated', sub: userId, exp })}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

describe.each(['embedded', 'postgrest'] as const)('who may read and write, on the %s Supabase', (name) => {
  const contextId = `rls ${randomUUID()}`;
  const [alice, bob] = [randomUUID(), randomUUID()];
  const ids = { alice: uuidv7(), bob: uuidv7() };
  let service: SupabaseClient;
  let anon: SupabaseClient;
  let signedIn: SupabaseClient;

  beforeAll(async () => {
    const { url, serviceKey, anonKey, jwtSecret } = supabaseService(name);
    service = supabaseClient(url, serviceKey);
    anon = supabaseClient(url, anonKey);
    signedIn = supabaseClient(url, anonKey, userToken(jwtSecret, alice));
    const row = {
      context_id: contextId,
      tokens: { encoding: 'gpt2', text: [] },
      module: 'reflection',
      created_at: moment(1),
    };
    const memories = [
      { ...row, id: ids.alice, user_id: alice },
      { ...row, id: ids.bob, user_id: bob },
    ];
    await service.from('memories').insert(memories).throwOnError();
    const reflection = {
      context_id: contextId,
      cid: 'c',
      sha256: 's',
      signature: 's',
      signing_kid: 'k',
      signing_key: 'k',
    };
    const secret = { wrapped_key: 'secret', visibility: 'private', created_at: moment(1) };
    const reflections = memories.map(({ id, user_id }) => ({ ...reflection, ...secret, id, user_id }));
    await service.from('memory_reflections').insert(reflections).throwOnError();
  });

  test('the service role reads everything', async () => {
    expect((await service.from('memories').select('id').eq('context_id', contextId)).data).toHaveLength(2);
  });

  test('a signed-in user reads their own rows and no others, also when asking for them by id', async () => {
    const all = await signedIn.from('memories').select('id').eq('context_id', contextId);
    expect([all.error, all.data]).toEqual([null, [{ id: ids.alice }]]);
    expect((await signedIn.from('memories').select('id').eq('id', ids.bob)).data).toEqual([]);
    const reflections = await signedIn.from('memory_reflections').select('id, cid').eq('context_id', contextId);
    expect([reflections.error, reflections.data]).toEqual([null, [{ id: ids.alice, cid: 'c' }]]);
  });

  test('a signed-in user writes, changes and deletes nothing', async () => {
    const before = await service.from('memories').select('*').eq('context_id', contextId).order('id');
    const row = {
      id: uuidv7(),
      user_id: alice,
      context_id: contextId,
      tokens: {},
      module: 'chat',
      created_at: moment(1),
    };
    expect((await signedIn.from('memories').insert(row)).error?.code).toBe('42501');
    await signedIn.from('memories').update({ cid: 'x' }).eq('id', ids.alice);
    await signedIn.from('memories').delete().eq('id', ids.alice);
    const after = await service.from('memories').select('*').eq('context_id', contextId).order('id');
    expect(after.data).toEqual(before.data);
  });

  test('anon reads nothing', async () => {
    for (const table of ['memories', 'memory_reflections']) {
      const { data } = await anon.from(table).select('id').eq('context_id', contextId);
      expect(data ?? []).toEqual([]);
    }
  });

  // The embedded Supabase grants its API roles everything on every table when it starts, so that there only the policies
  // above hold; PostgREST over PostgreSQL is what production has.
  if (name === 'postgrest') {
    test('grants: no wrapped key for a user, no write for a user, no table and no function for anon', async () => {
      const key = await signedIn.from('memory_reflections').select('wrapped_key').eq('id', ids.alice);
      expect([key.data, key.error?.code]).toEqual([null, '42501']);
      expect((await signedIn.from('memories').update({ cid: 'x' }).eq('id', ids.alice)).error?.code).toBe('42501');
      expect((await signedIn.from('memories').delete().eq('id', ids.alice)).error?.code).toBe('42501');
      expect((await anon.from('memories').select('id')).error?.code).toBe('42501');
      expect((await anon.rpc('mnemoq_schema_version')).error?.code).toBe('42501');
      expect((await signedIn.rpc('mnemoq_schema_version')).error?.code).toBe('42501');
    });
  }
});
