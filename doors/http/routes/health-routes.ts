import type { FastifyInstance } from 'fastify';
import { withinTime } from '../../../shared/redis/within-time.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { live, ready } from '../../wire/answers/operating.ts';
import { addRoutes, route } from '../route.ts';

/** How long Redis may take to answer a question about its health. */
const ANSWER_MS = 2_000;
/** Anybody may ask for the health without a key, so Redis is asked at most once in this time. */
const KEPT_MS = 1_000;

interface Readiness {
  status: 'ok' | 'degraded' | 'unready';
  ready: boolean;
}

/** Adds `GET /health/live`, which answers while the process runs, and `GET /health/ready`: 200, or 503 while Redis is away. */
export function addHealthRoutes(server: FastifyInstance, memory: Pick<MemoryCore, 'getStats'>): void {
  let asked: { at: number; answer: Promise<Readiness> } | null = null;
  const readiness = async (): Promise<Readiness> => {
    if (!asked || Date.now() - asked.at > KEPT_MS) asked = { at: Date.now(), answer: readinessOf(memory) };
    return asked.answer;
  };
  addRoutes(server, [
    route({
      at: 'GET /health/live',
      permission: 'everybody',
      id: 'isLive',
      summary: 'Whether the process runs',
      tag: 'health',
      parts: {},
      answers: { 200: { schema: live, description: 'It does.' } },
      options: { logLevel: 'warn' },
      call: () => ({ live: true }),
    }),
    route({
      at: 'GET /health/ready',
      permission: 'everybody',
      id: 'isReady',
      summary: 'Whether requests should come here',
      tag: 'health',
      parts: {},
      answers: {
        200: { schema: ready, description: 'They should.' },
        503: { schema: ready, description: 'Redis does not answer.' },
      },
      options: { logLevel: 'warn' },
      call: async (_asked, { reply }) => {
        const found = await readiness();
        reply.code(found.ready ? 200 : 503);
        return found;
      },
    }),
  ]);
}

/** Finds out whether requests should come to this process. They should while Redis answers. */
export async function readinessOf(memory: Pick<MemoryCore, 'getStats'>): Promise<Readiness> {
  try {
    const { status } = await withinTime(memory.getStats(), ANSWER_MS, 'asking for its health');
    return { status, ready: true };
  } catch {
    return { status: 'unready', ready: false }; // the connection itself logs that Redis is away
  }
}
