/**
 * **test/shared/**: single parts of `shared/` that need no store: keys, tokens, ciphers, settings, and how values are checked.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { type EmbeddedRedis, startRedis } from '../../embedded/redis.ts';
import { Keys } from '../../shared/short-term/keys.ts';
import { ODD_IDS } from '../support/inputs/odd-ids.ts';
import { clusterPort } from '../support/services/redis-cluster.ts';

const single = new Keys(false);
const cluster = new Keys(true);

/** Ids that try to look like other keys, and all ways to begin or end with their parts. */
const parts = [
  '',
  ':',
  'x',
  '{7}',
  '}',
  '{',
  'pending',
  'pending-index',
  '-index',
  'order',
  'conversation:',
  'memory:',
];
const NASTY = [
  ...new Set([...ODD_IDS.map(([, id]) => id), ...parts.flatMap((a) => parts.flatMap((b) => [a + b, `${a}:${b}`]))]),
];

/** The keys of one conversation. */
function keysOf(keys: Keys, contextId: string): Record<string, string> {
  return {
    conversation: keys.conversation(contextId),
    order: keys.order(contextId),
    uncommitted: keys.uncommitted(contextId),
    refill: keys.refill(contextId),
  };
}

test('a single Redis has the keys other programs rely on', () => {
  expect(keysOf(single, 'a b')).toEqual({
    conversation: 'memory:conversation:a b',
    order: 'memory:order:a b',
    uncommitted: 'memory:uncommitted:a b',
    refill: 'memory:refill:a b',
  });
  expect(single.reflection('0199')).toBe('memory:reflection:0199');
  expect(single.shards.map((shard) => single.pending(shard))).toEqual(['memory:pending']);
  expect(single.shards.map((shard) => single.pendingIndex(shard))).toEqual(['memory:pending-index']);
  expect(single.queuePrefix).toBe('bull');
});

test.each([
  ['a single Redis', single],
  ['a cluster', cluster],
])('no two things share a key, whatever the ids: %s', (_, keys) => {
  const owners = new Map<string, string>();
  const collisions: string[] = [];
  const own = (key: string, owner: string) => {
    if (owners.has(key) || key.startsWith(`${keys.queuePrefix}:`))
      collisions.push(`${key}: ${owner}, ${owners.get(key)}`);
    owners.set(key, owner);
  };
  for (const shard of keys.shards) {
    own(keys.pending(shard), `pending ${shard}`);
    own(keys.pendingIndex(shard), `pending index ${shard}`);
  }
  for (const id of NASTY) {
    for (const [kind, key] of Object.entries(keysOf(keys, id))) own(key, `${kind} of ${id}`);
    own(keys.reflection(id), `reflection ${id}`);
  }
  expect(collisions).toEqual([]);
  expect(owners.size).toBe(NASTY.length * 5 + keys.shards.length * 2);
});

describe('on a cluster', () => {
  let server: EmbeddedRedis;
  let redis: Redis;
  const dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-keys-'));
  beforeAll(async () => {
    server = await startRedis(dir, { port: await clusterPort(), args: ['--cluster-enabled', 'yes'] });
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
    rmSync(dir, { recursive: true });
  });

  /** As Redis itself computes it. */
  const slotOf = async (key: string): Promise<number> => redis.cluster('KEYSLOT', key);

  test('all keys of a conversation and its part of the pending stream share a slot', async () => {
    for (const id of NASTY) {
      const shard = cluster.shardOf(id);
      expect(cluster.shards).toContain(shard);
      const keys = [...Object.values(keysOf(cluster, id)), cluster.pending(shard), cluster.pendingIndex(shard)];
      const slots = await Promise.all(keys.map(slotOf));
      expect(new Set(slots)).toEqual(new Set([await slotOf(shard)]));
    }
  });

  test('the parts lie in slots of their own, far enough apart for every third of the slots to have some', async () => {
    const slots = await Promise.all(cluster.shards.map(slotOf));
    expect(new Set(slots).size).toBe(Keys.CLUSTER_SHARDS);
    expect(new Set(slots.map((slot) => Math.floor((slot * 3) / 16_384)))).toEqual(new Set([0, 1, 2]));
  });

  test('all keys of a queue share a slot', async () => {
    const queueKeys = ['chat:id', 'chat:wait', 'flush:{7}'].map((rest) => `${cluster.queuePrefix}:${rest}`);
    expect(new Set(await Promise.all(queueKeys.map(slotOf))).size).toBe(1);
  });
});

describe('the part of a conversation', () => {
  // Test vectors of FNV-1a, 32 bits, by Landon Curt Noll (draft-eastlake-fnv, appendix): stored data depends on them.
  test.each([
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['foobar', 0xbf9cf968],
  ])('of %j never changes', (id, hash) => {
    expect(cluster.shardOf(id)).toBe(`{${hash % 12}}`);
  });

  test('is one of twelve, evenly', () => {
    const shards = Array.from({ length: 12_000 }, (_, i) => cluster.shardOf(`conversation ${i}`));
    const sizes = Object.values(Object.groupBy(shards, (shard) => shard)).map((group) => group?.length ?? 0);
    expect(sizes).toHaveLength(12);
    expect(Math.min(...sizes)).toBeGreaterThan(800);
  });
});
