import type { MemoryCore } from '../../../producers/index.ts';
import { MnemoqError } from '../../../shared/errors.ts';
import { preferredWait } from '../../web/preferences.ts';
import type { ProblemCode } from '../../web/problem.ts';
import { flushResult, stats } from '../../wire/answers/operating.ts';
import { receipt } from '../../wire/answers/records.ts';
import { flushBody, importBody, waitHeaders } from '../../wire/requests.ts';
import { APPLIED, BODY_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

/** Longer than most flushes take, and shorter than most proxies wait. */
const FLUSH_WAIT_MS = 30_000;

const IMPORT_PROBLEMS: readonly ProblemCode[] = [
  'erased',
  'unverified',
  'invalid_configuration',
  'redis_unavailable',
  'redis_full',
  'ipfs_unavailable',
];

/** `POST /memory/flush`, `POST /memory/knowledge/import` and `GET /memory/stats`: about everybody's records, so for services. */
export function serviceRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'POST /memory/flush',
      permission: 'services',
      id: 'flushRedisToSupabase',
      summary: 'Commit everything that is pending now, and wait for it',
      description: 'For service keys. Waits for 30 s, or as long as Prefer: wait says; it goes on after that.',
      tag: 'operating',
      parts: { body: flushBody, headers: waitHeaders },
      answers: { 200: { schema: flushResult, description: 'It is done.', headers: APPLIED } },
      problems: [...BODY_PROBLEMS, 'redis_unavailable', 'timeout'],
      call: async ({ body }, { request, reply }) => {
        const wait = preferredWait(request, reply) ?? FLUSH_WAIT_MS;
        const { reason, success, ...done } = await memory.flushRedisToSupabase({ ...body, wait });
        if (success) return { success, ...done };
        const so = `${done.flushedCount} of ${done.totalPending} records were committed`;
        throw new MnemoqError('supabase_unavailable', `${so}; the rest is kept: ${reason}`);
      },
    }),
    route({
      at: 'POST /memory/knowledge/import',
      permission: 'services',
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
      problems: [...BODY_PROBLEMS, ...IMPORT_PROBLEMS],
      call: async ({ body }, { request, reply }) => {
        const wait = preferredWait(request, reply);
        const imported = await memory.importKnowledge(body, wait === null ? {} : { wait });
        reply.code(imported.tokenCount === null ? 202 : 200);
        return imported;
      },
    }),
    route({
      at: 'GET /memory/stats',
      permission: 'services',
      id: 'getStats',
      summary: 'Lengths, ages and limits, and whether anything needs attention',
      description: 'For service keys.',
      tag: 'operating',
      parts: {},
      answers: { 200: { schema: stats, description: 'How the memory is.' } },
      problems: ['redis_unavailable', 'timeout'],
      call: async () => memory.getStats(),
    }),
  ];
}
