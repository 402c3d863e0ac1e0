import { Readable } from 'node:stream';
import { z } from 'zod';
import type { MemoryCore } from '../../../producers/index.ts';
import { exportQuery } from '../../wire/requests.ts';
import { READ_PROBLEMS } from '../operation.ts';
import { type Route, route } from '../route.ts';

const NDJSON = 'application/x-ndjson';

/** `GET /memory/export`. */
export function exportRoutes(memory: MemoryCore): Route[] {
  return [
    route({
      at: 'GET /memory/export',
      permission: 'users',
      id: 'exportTrainingData',
      summary: 'Committed records as JSON lines, oldest first, for training',
      description: 'A connection that ends without its last chunk is an export that broke off: begin it again.',
      tag: 'learning',
      parts: { querystring: exportQuery },
      answers: {
        200: { schema: z.string().describe('A JSON object a line.'), description: 'All of them.', type: NDJSON },
      },
      problems: ['key_missing', ...READ_PROBLEMS],
      options: { exposeHeadRoute: false },
      call: async ({ query }, { reply }) => {
        const lines = memory.exportTrainingData(query)[Symbol.asyncIterator]();
        const first = await lines.next(); // an error before the first line is still answered as a problem
        // An error after it, or a client that goes away, destroys the connection and ends the reading.
        return reply.type(NDJSON).send(Readable.from(withLineEnds(first, lines)));
      },
    }),
  ];
}

async function* withLineEnds(first: IteratorResult<string>, rest: AsyncIterator<string>): AsyncGenerator<string> {
  try {
    for (let next = first; !next.done; next = await rest.next()) yield `${next.value}\n`;
  } finally {
    await rest.return?.();
  }
}
