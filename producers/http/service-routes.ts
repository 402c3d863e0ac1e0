import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { MnemoqError } from '../../shared/errors.ts';
import { addMetricsRoute } from '../../shared/metrics-route.ts';
import { requireService } from '../auth.ts';
import type { MemoryCore } from '../index.ts';
import { flushResult, stats } from './answers.ts';
import { callerOf } from './guard.ts';
import { operation } from './operation.ts';
import { preferredWait } from './preferences.ts';
import { flushBody, waitHeaders } from './requests.ts';
import { toCamel, toSnake } from './snake-case.ts';

/** Longer than most flushes take, and shorter than most proxies wait. */
const FLUSH_WAIT_MS = 30_000;

/** `POST /memory/flush`, `GET /memory/stats` and `GET /metrics`: about everybody's records, so for services. */
export function addServiceRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const permitService = (request: FastifyRequest) => requireService(callerOf(request));
  const onlyService = async (request: FastifyRequest) => permitService(request);
  server.post(
    '/memory/flush',
    {
      onRequest: onlyService,
      schema: operation({
        id: 'flush',
        summary: 'Commit everything that is pending now, and wait for it',
        description: 'For service keys. Waits for 30 s, or as long as Prefer: wait says; it goes on after that.',
        tag: 'operating',
        parts: { body: flushBody, headers: waitHeaders },
        answers: {
          200: {
            schema: flushResult,
            description: 'It is done.',
            headers: {
              'Preference-Applied': { description: 'What was heeded of Prefer.', type: 'string' },
            },
          },
        },
        problems: ['too_large', 'unsupported_media_type', 'redis_unavailable', 'timeout'],
      }),
    },
    async (request, reply) => {
      const wait = preferredWait(request, reply) ?? FLUSH_WAIT_MS;
      const { reason, success, ...done } = await memory.flushRedisToSupabase({ ...toCamel(request.body), wait });
      if (success) return toSnake({ success, ...done });
      const so = `${done.flushedCount} of ${done.totalPending} records were committed`;
      throw new MnemoqError('long_term_unavailable', `${so}; the rest is kept: ${reason}`);
    },
  );
  server.get(
    '/memory/stats',
    {
      onRequest: onlyService,
      schema: operation({
        id: 'getStats',
        summary: 'Lengths, ages and limits, and whether anything needs attention',
        description: 'For service keys.',
        tag: 'operating',
        parts: {},
        answers: { 200: { schema: stats, description: 'How the memory is.' } },
        problems: ['redis_unavailable', 'timeout'],
      }),
    },
    async () => toSnake(await memory.getStats()),
  );
  addMetricsRoute(plain, memory.metrics, permitService);
}
