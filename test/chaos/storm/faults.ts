import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkerKind } from '../../../workers/kinds.ts';
import type { Fault, ProxiedRequest } from '../../support/faults/fault-proxy.ts';
import type { Crew } from './crew.ts';
import { oneOf, type Random, wholeFrom } from '../random.ts';
import type { Stage } from './stage.ts';

/** The part that a fault breaks. Two faults that break the same part never overlap. */
export type Part = WorkerKind | 'redis' | 'supabase' | 'ipfs';

export interface FaultEntry {
  part: Part;
  /** The words for it in the report. */
  what: string;
  /**
   * The recovery shows when a job of each of these queues ends well: a turn is cached, a flush commits something, a document is
   * pinned.
   */
  watches: readonly WorkerKind[];
  /** Breaks the part, and returns the function that mends it. */
  start(setting: FaultSetting): Promise<() => Promise<void>>;
}

export interface FaultSetting {
  stage: Stage;
  crew: Crew;
  random: Random;
}

/** How long a blow waits for a worker that has something in hand. */
const IN_HAND_MS = 4_000;
const IN_HAND_POLL_MS = 5;
const ALL: readonly WorkerKind[] = ['chat', 'flush', 'reflection'];
/** A CID that is never the one of the document. It is that of the empty file. */
const OTHER_CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

/** All the ways in which a run breaks something. */
export const FAULTS = {
  'chat-kill': strike('chat', 'SIGKILL', 'kill -9 of a chat worker'),
  'chat-term': strike('chat', 'SIGTERM', 'SIGTERM to a chat worker'),
  'flush-kill': strike('flush', 'SIGKILL', 'kill -9 of a flush worker'),
  'flush-term': strike('flush', 'SIGTERM', 'SIGTERM to a flush worker'),
  'reflection-kill': strike('reflection', 'SIGKILL', 'kill -9 of a reflection worker'),
  'reflection-term': strike('reflection', 'SIGTERM', 'SIGTERM to a reflection worker'),
  'redis-kill': redis('kill -9 of Redis, back from its AOF', async ({ stage }) => {
    await stage.killRedis();
    return () => stage.startRedis();
  }),
  'redis-restart': redis('Redis stopped gracefully and started', async ({ stage }) => {
    await stage.stopRedis();
    return () => stage.startRedis();
  }),
  'redis-stop': redis('SIGSTOP of Redis', async ({ stage }) => {
    stage.freezeRedis();
    return async () => stage.thawRedis();
  }),
  'redis-half-open': redis('Redis: connections swallow everything', async ({ stage }) => {
    stage.redisLine.blackHole();
    return async () => stage.redisLine.pass();
  }),
  'supabase-down': {
    part: 'supabase',
    what: 'PostgREST killed and started',
    watches: ['flush'],
    async start({ stage: { supabaseServer, supabaseWay } }) {
      const { api } = supabaseServer;
      await (api ? api.kill() : supabaseWay.line.refuse());
      return () => (api ? api.start() : supabaseWay.line.accept());
    },
  },
  'supabase-half-open': {
    part: 'supabase',
    what: 'Supabase: connections swallow everything',
    watches: ['flush'],
    async start({ stage: { supabaseWay } }) {
      supabaseWay.line.blackHole();
      return async () => supabaseWay.line.pass();
    },
  },
  'supabase-hang': supabase('Supabase accepts and never answers', () => () => 'hang'),
  'supabase-slow': supabase('Supabase takes seconds', (random) => () => ({ lateMs: wholeFrom(500, 2_500, random) })),
  'supabase-5xx': supabase('Supabase answers 5xx', (random) => () => ({
    status: oneOf([500, 502, 503, 504], random),
  })),
  'supabase-408': supabase('Supabase answers 408', () => () => ({ status: 408 })),
  'supabase-429': supabase('Supabase answers 429, Retry-After', () => () => ({
    status: 429,
    headers: { 'retry-after': '2' },
  })),
  'supabase-401': supabase('Supabase refuses the key, 401', () => () => ({
    status: 401,
    body: { code: 'PGRST301', message: 'JWT expired' },
  })),
  'supabase-lost-answer': supabase('Supabase commits, the answer is lost', () => after(writes, 'reset')),
  'ipfs-refused': {
    part: 'ipfs',
    what: 'IPFS: port closed',
    watches: ['reflection'],
    async start({ stage: { ipfsWay } }) {
      await ipfsWay.line.refuse();
      return () => ipfsWay.line.accept();
    },
  },
  'ipfs-hang': ipfs('IPFS accepts and never answers', () => () => 'hang'),
  'ipfs-500': ipfs('IPFS answers 500', () => () => ({ status: 500, body: { Message: 'fault', Code: 0 } })),
  'ipfs-wrong-cid': ipfs('IPFS answers another CID', () =>
    after(adds, { status: 200, body: { Name: OTHER_CID, Hash: OTHER_CID, Size: '0' } }),
  ),
} satisfies Record<string, FaultEntry>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

/** What happens to a request: before the service sees it, or after, where it is marked `late`. */
type Befall = ((request: ProxiedRequest) => Fault | null) & { late?: true };

function after(concerned: (request: ProxiedRequest) => boolean, fault: Fault): Befall {
  return Object.assign((request: ProxiedRequest) => (concerned(request) ? fault : null), { late: true as const });
}

function writes({ method }: ProxiedRequest): boolean {
  return method !== 'GET';
}

function adds({ url }: ProxiedRequest): boolean {
  return url.startsWith('/api/v0/add');
}

function strike(kind: WorkerKind, signal: 'SIGKILL' | 'SIGTERM', what: string): FaultEntry {
  return {
    part: kind,
    what,
    watches: [kind],
    async start({ stage, crew, random }) {
      await hasJobsInHand(stage, kind);
      crew.strike(kind, signal, random);
      return async () => undefined; // the crew starts it again by itself
    },
  };
}

/** Waits until workers of this kind have something in hand, but not for long. */
async function hasJobsInHand({ redis }: Stage, kind: WorkerKind): Promise<void> {
  for (const deadline = Date.now() + IN_HAND_MS; Date.now() < deadline; await sleep(IN_HAND_POLL_MS)) {
    const inHand = await redis.llen(`bull:${kind}:active`).catch(() => 0); // Redis may be away as well
    if (inHand > 0) return;
  }
}

function redis(what: string, start: FaultEntry['start']): FaultEntry {
  return { part: 'redis', what, watches: ALL, start };
}

function supabase(what: string, befall: (random: Random) => Befall): FaultEntry {
  return http('supabase', what, ['flush'], ({ stage }) => stage.supabaseWay.http, befall);
}

function ipfs(what: string, befall: (random: Random) => Befall): FaultEntry {
  return http('ipfs', what, ['reflection'], ({ stage }) => stage.ipfsWay.http, befall);
}

function http(
  part: Part,
  what: string,
  watches: readonly WorkerKind[],
  proxyOf: (setting: FaultSetting) => { fault: Befall; beforeAnswer: Befall },
  befall: (random: Random) => Befall,
): FaultEntry {
  return {
    part,
    what,
    watches,
    async start(setting) {
      const proxy = proxyOf(setting);
      const fault = befall(setting.random);
      proxy[fault.late ? 'beforeAnswer' : 'fault'] = fault;
      return async () => {
        proxy.fault = () => null;
        proxy.beforeAnswer = () => null;
      };
    },
  };
}
