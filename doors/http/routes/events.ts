import { fastifySSE, type SSEMessage } from '@fastify/sse';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { z } from 'zod';
import { EVENT_TYPES, type EventType } from '../../../shared/short-term/events.ts';
import type { Followed } from '../../../shared/short-term/event-feed.ts';
import { identifier } from '../../../shared/identifiers.ts';
import type { MemoryCore } from '../../../producers/index.ts';
import { addRoutes, route } from '../route.ts';
import { toSnake } from '../../wire/snake-case.ts';
import { OF_USER } from '../../wire/descriptions.ts';

/** Many proxies close a connection on which nothing was sent for a minute. */
const HEARTBEAT_MS = 15_000;
/** The time after which a browser whose connection broke connects again. */
const RECONNECT_MS = 2_000;

const oneType = EVENT_TYPES.map((type) => type.replace('.', '\\.')).join('|');
const types = z
  .string()
  .regex(new RegExp(`^(${oneType})(,(${oneType}))*$`), `some of ${EVENT_TYPES.join(', ')}, separated by commas`);
const cursor = z.string().min(1).max(1_000);

const eventsQuery = z.strictObject({
  types: types.optional().meta({ description: 'Only events of these types, separated by commas. Default: all.' }),
  cursor: cursor.optional().meta({
    description:
      'The id of the last event that was seen; 0 for all that are kept. Default: only what happens from now on.',
  }),
  user_id: identifier.optional().meta({
    description: `${OF_USER} A key bound to a user may leave it out; it sees no others anyway.`,
    maxLength: 512,
  }),
});
const eventsHeaders = z.looseObject({
  'last-event-id': cursor.optional().meta({ description: 'The same as `cursor`, and stronger: browsers send it.' }),
});
const eventStream = z.string().meta({
  description: 'Events of the types asked for, and `events.missed`; the data of each is JSON: id, type, at, data.',
});

/** Adds `GET /memory/events`: it sends what happens as server-sent events, until either side ends the connection. */
export async function addEventRoute(server: FastifyInstance, memory: MemoryCore): Promise<void> {
  await server.register(fastifySSE, { heartbeatInterval: HEARTBEAT_MS });
  const closing = new AbortController();
  server.addHook('preClose', async () => closing.abort());
  addRoutes(server, [
    route({
      at: 'GET /memory/events',
      permission: 'users',
      id: 'followEvents',
      summary: 'What happens to records, as server-sent events',
      description: 'docs/events.md has every event. Resumes after the event with the id in Last-Event-ID or `cursor`.',
      tag: 'reading',
      parts: { querystring: eventsQuery, headers: eventsHeaders },
      answers: { 200: { schema: eventStream, description: 'Never ends by itself.', type: 'text/event-stream' } },
      problems: ['redis_unavailable'],
      // Without `manual` the plugin checks the header Accept itself, and its refusal is not in the form of a problem.
      options: { sse: 'manual' },
      call: async ({ query: { types: wanted, cursor: named, ...scope }, headers }, { reply }) => {
        const gone = new AbortController();
        reply.sse.onClose(() => gone.abort());
        const { cursor: start, events } = await memory.followEvents({
          ...scope,
          cursor: headers['last-event-id'] ?? named,
          types: wanted?.split(',') as EventType[] | undefined,
          // An id without data is no event for a browser, but it is the place from which the browser resumes.
          passed: (id) => send({ id, data: undefined }, reply, gone.signal),
          signal: AbortSignal.any([closing.signal, gone.signal]),
        });
        reply.header('cache-control', 'no-store');
        await send({ id: start, retry: RECONNECT_MS, data: undefined }, reply, gone.signal);
        for await (const { event, cursor: id } of events) await send(message(id, event), reply, gone.signal);
      },
    }),
  ]);
}

function message(id: string, event: Followed['event']) {
  return { id, event: event.type, data: toSnake(event) };
}

/** Sends one event. @fastify/sse 0.6 waits for ever when a slow client goes away, so the wait ends when the client is gone. */
async function send(what: SSEMessage, { sse: stream }: FastifyReply, gone: AbortSignal) {
  if (gone.aborted) return;
  const left = Promise.withResolvers<void>();
  const leave = () => left.resolve();
  gone.addEventListener('abort', leave, { once: true });
  await Promise.race([stream.send(what), left.promise]);
  gone.removeEventListener('abort', leave);
}
