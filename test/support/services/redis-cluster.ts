import path from 'node:path';
import { Cluster, Redis } from 'ioredis';
import { freePort } from '../../../embedded/free-port.ts';
import { type EmbeddedRedis, startRedis } from '../../../embedded/redis.ts';
import { eventually } from '../faults/eventually.ts';

const SLOTS = 16_384;
const MASTERS = 3;
/** How long a node may be silent before the others take it for dead. */
const NODE_TIMEOUT_MS = 2_000;
/** Where Redis puts its cluster bus, from the port of its clients. */
const BUS_OFFSET = 10_000;
const HIGHEST_PORT = 65_535;

export interface ClusterNode {
  port: number;
  /** A plain client of this node alone. */
  client: Redis;
  process(): EmbeddedRedis['process'];
  /** `kill -9`. */
  kill(): Promise<void>;
  /** On the same port and folder. */
  restart(): Promise<void>;
}

/** A Redis Cluster of real nodes on loopback: three masters, and as many replicas if asked for. */
export interface RedisCluster {
  url: string;
  masters: ClusterNode[];
  replicas: ClusterNode[];
  /** Looks into the cluster from outside. */
  client: Cluster;
  slotOf(key: string): Promise<number>;
  /** The master that serves a slot now, as a node sees it; without one, as any that runs. */
  ownerOf(slot: number, seenBy?: ClusterNode): Promise<ClusterNode>;
  stop(): Promise<void>;
}

export interface RedisClusterOptions {
  program: string;
  replicas?: boolean;
}

export async function startRedisCluster(
  dir: string,
  { program, replicas }: RedisClusterOptions,
): Promise<RedisCluster> {
  const count = replicas ? 2 * MASTERS : MASTERS;
  const nodes: ClusterNode[] = [];
  for (let n = 0; n < count; n += 1) nodes.push(await startNode(path.join(dir, `node-${n}`), program));
  const [first, ...others] = nodes as [ClusterNode, ...ClusterNode[]];
  const masters = nodes.slice(0, MASTERS);
  await Promise.all(masters.map((node, n) => node.client.call('CLUSTER', 'ADDSLOTS', ...shareOf(n))));
  // With an epoch of its own each: two that claim the same one would have to settle it first.
  await Promise.all(nodes.map((node, n) => node.client.call('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)));
  await Promise.all(others.map((node) => node.client.cluster('MEET', '127.0.0.1', first.port)));
  await eventually(async () => (await Promise.all(nodes.map(knownNodes))).every((known) => known === count));
  await Promise.all(
    nodes.slice(MASTERS).map(async (node, n) => {
      const id = await (masters[n] as ClusterNode).client.cluster('MYID');
      await node.client.cluster('REPLICATE', id);
      await eventually(async () => /master_link_status:up/.test(await node.client.info('replication')));
    }),
  );
  await Promise.all(nodes.map(isWhole));
  const client = new Cluster(
    masters.map(({ port }) => ({ host: '127.0.0.1', port })),
    // Without a socket timeout it would wait for a node that hangs for as long as that hangs.
    { maxRedirections: Infinity, redisOptions: { socketTimeout: NODE_TIMEOUT_MS } },
  );
  client.on('error', () => undefined); // tests kill nodes on purpose
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    masters,
    replicas: nodes.slice(MASTERS),
    client,
    slotOf: async (key) => anyRunning(nodes).client.cluster('KEYSLOT', key),
    async ownerOf(slot, seenBy = anyRunning(nodes)) {
      const served = await seenBy.client.cluster('SLOTS');
      const owner = served.find(([from, to]) => from <= slot && slot <= to)?.[2]?.[1];
      return nodes.find(({ port }) => port === owner) as ClusterNode;
    },
    async stop() {
      client.disconnect();
      for (const node of nodes) node.client.disconnect();
      await Promise.all(nodes.map((node) => node.kill()));
    },
  };
}

async function startNode(dir: string, program: string): Promise<ClusterNode> {
  const port = await clusterPort();
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(NODE_TIMEOUT_MS)];
  const start = () => startRedis(dir, { port, program, args });
  let running = await start();
  const client = new Redis(running.url);
  client.on('error', () => undefined);
  return {
    port,
    client,
    process: () => running.process,
    async kill() {
      running.process.kill('SIGKILL');
      await running.stop();
      await eventually(() => running.process.signalCode !== null || running.process.exitCode !== null);
    },
    async restart() {
      running = await start();
    },
  };
}

/** A free port whose bus port exists and is free too. */
export async function clusterPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    const bus = port + BUS_OFFSET;
    if (bus <= HIGHEST_PORT && (await freePort(bus)) === bus) return port;
  }
}

/** The n-th third of all slots. */
function shareOf(n: number): number[] {
  const from = Math.ceil((SLOTS * n) / MASTERS);
  const to = Math.ceil((SLOTS * (n + 1)) / MASTERS);
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function isRunning(node: ClusterNode): boolean {
  return node.process().exitCode === null && node.process().signalCode === null;
}

function anyRunning(nodes: readonly ClusterNode[]): ClusterNode {
  return nodes.find(isRunning) as ClusterNode;
}

async function knownNodes({ client }: ClusterNode): Promise<number> {
  return Number(/cluster_known_nodes:(\d+)/.exec(await client.cluster('INFO'))?.[1]);
}

async function isWhole({ client }: ClusterNode): Promise<void> {
  await eventually(async () => /cluster_state:ok/.test(await client.cluster('INFO')));
}

/**
 * Moves a slot to another node as `redis-cli --cluster reshard` does: announced on both sides, the keys one by one, then
 * told to everybody. `halfWay` is called when some keys are here and some there.
 */
export async function moveSlot(
  cluster: RedisCluster,
  slot: number,
  to: ClusterNode,
  halfWay: () => Promise<void>,
): Promise<void> {
  const from = await cluster.ownerOf(slot);
  const [fromId, toId] = await Promise.all([from.client.cluster('MYID'), to.client.cluster('MYID')]);
  await to.client.cluster('SETSLOT', slot, 'IMPORTING', fromId);
  await from.client.cluster('SETSLOT', slot, 'MIGRATING', toId);
  const move = async (count: number): Promise<number> => {
    const keys = await from.client.cluster('GETKEYSINSLOT', slot, count);
    for (const key of keys) await from.client.call('MIGRATE', '127.0.0.1', to.port, key, 0, 5_000);
    return keys.length;
  };
  const keys = await from.client.cluster('COUNTKEYSINSLOT', slot);
  await move(Math.ceil(keys / 2));
  await halfWay();
  while ((await move(100)) > 0);
  // The new owner first: told the other way round, nobody would serve the slot for a moment.
  const everybody = [to, from, ...cluster.masters.filter((node) => node !== to && node !== from)];
  for (const node of everybody) await node.client.cluster('SETSLOT', slot, 'NODE', toId);
}
