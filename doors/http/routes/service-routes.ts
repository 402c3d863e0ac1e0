import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { MnemoqError } from '../../../shared/errors.ts';
import { addMetricsRoute } from '../../../shared/telemetry/metrics-route.ts';
import { requireService } from '../../web/auth.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { flushResult, receipt, stats } from '../../wire/answers.ts';
import { callerOf } from '../../web/guard.ts';
import { operation } from '../operation.ts';
import { preferredWait } from '../../web/preferences.ts';
import { flushBody, importBody, waitHeaders } from '../../wire/requests.ts';
import { toCamel, toSnake } from '../../wire/snake-case.ts';

/** Longer than most flushes take, and shorter than most proxies wait. */
const FLUSH_WAIT_MS = 30_000;

const APPLIED = { 'Preference-Applied': { description: 'What was heeded of Prefer.', type: 'string' } } as const;

/** `POST /memory/flush`, `POST /memory/knowledge/import`, `GET /memory/stats` and `GET /metrics`: about everybody's records, so for services. */
export function addServiceRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const permitService = (request: FastifyRequest) => requireService(callerOf(request));
  const onlyService = async (request: FastifyRequest) => permitService(request);
  server.post(
    '/memory/flush',
    {
      onRequest: onlyService,
      schema: operation({
        id: 'flushRedisToSupabase',
        summary: 'Commit everything that is pending now, and wait for it',
        description: 'For service keys. Waits for 30 s, or as long as Prefer: wait says; it goes on after that.',
        tag: 'operating',
        parts: { body: flushBody, headers: waitHeaders },
        answers: {
          200: {
            schema: flushResult,
            description: 'It is done.',
            headers: APPLIED,
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
      throw new MnemoqError('supabase_unavailable', `${so}; the rest is kept: ${reason}`);
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
  addImportRoute(plain, memory, onlyService);
}

/** `POST /memory/knowledge/import`. */
function addImportRoute(
  plain: FastifyInstance,
  memory: MemoryCore,
  onRequest: (request: FastifyRequest) => Promise<void>,
): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  server.post(
    '/memory/knowledge/import',
    {
      onRequest,
      schema: operation({
        id: 'importKnowledge',
        summary: 'Take over a knowledge item of another Mnemoq from its CID alone',
        description:
          'For service keys. CID, signature and digest are checked before anything is stored. Importing it again changes ' +
          'nothing. Prefer: wait=5 waits up to so many seconds, 60 at most, until the record is pinned here.',
        tag: 'saving',
        parts: { body: importBody, headers: waitHeaders },
        answers: {
          200: { schema: receipt, description: 'It is here.', headers: APPLIED },
          202: { schema: receipt, description: 'Checked, and Redis has it; a worker takes it on.', headers: APPLIED },
        },
        problems: [
          'erased',
          'unverified',
          'too_large',
          'unsupported_media_type',
          'invalid_configuration',
          'redis_unavailable',
          'redis_full',
          'ipfs_unavailable',
        ],
      }),
    },
    async (request, reply) => {
      const { cid, ...options } = toCamel(request.body) as { cid: string };
      const wait = preferredWait(request, reply);
      const imported = await memory.importKnowledge(cid, options, wait === null ? {} : { wait });
      return reply.code(imported.tokenCount === null ? 202 : 200).send(toSnake(imported));
    },
  );
}
