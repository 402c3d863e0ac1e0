import type { FastifyReply, FastifyRequest } from 'fastify';

/** As the document tells of it. */
export const LINK = {
  Link: { description: 'The next page, as RFC 8288 has it: rel="next".', type: 'string' },
} as const;

/** Points to the next page, with everything else that was asked for as it was. */
export function nextLink({ url }: FastifyRequest, reply: FastifyReply, nextCursor: string | null): void {
  if (nextCursor === null) return;
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const next = new URLSearchParams(query);
  next.set('cursor', nextCursor);
  reply.header('link', `<${path}?${next.toString()}>; rel="next"`);
}
