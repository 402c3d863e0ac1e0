import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { FOR_USERS } from '../../web/permission.ts';
import { exportQuery } from '../../wire/requests.ts';
import { operation } from '../operation.ts';
import { scoped } from './read-routes.ts';

const NDJSON = 'application/x-ndjson';

/** `GET /memory/export`. */
export function addExportRoutes(plain: FastifyInstance, memory: MemoryCore): void {
  const server = plain.withTypeProvider<ZodTypeProvider>();
  const outages = ['redis_unavailable', 'timeout'] as const;
  server.get(
    '/memory/export',
    {
      exposeHeadRoute: false,
      ...FOR_USERS,
      schema: operation({
        id: 'exportTrainingData',
        summary: 'Committed records as JSON lines, oldest first, for training',
        description: 'A connection that ends without its last chunk is an export that broke off: begin it again.',
        tag: 'learning',
        parts: { querystring: exportQuery },
        answers: {
          200: { schema: z.string().describe('A JSON object a line.'), description: 'All of them.', type: NDJSON },
        },
        problems: ['key_missing', ...outages],
      }),
    },
    async (request, reply) => {
      const lines = memory.exportTrainingData({ ...scoped(request, request.query) } as never)[Symbol.asyncIterator]();
      const first = await lines.next(); // what fails before it is still answered as a problem
      // Its error, or a client that goes away, destroys the connection and ends the reading.
      return reply.type(NDJSON).send(Readable.from(withLineEnds(first, lines)));
    },
  );
}

async function* withLineEnds(first: IteratorResult<string>, rest: AsyncIterator<string>): AsyncGenerator<string> {
  try {
    for (let next = first; !next.done; next = await rest.next()) yield `${next.value}\n`;
  } finally {
    await rest.return?.();
  }
}
