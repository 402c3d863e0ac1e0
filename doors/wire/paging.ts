import type { FastifyReply, FastifyRequest } from 'fastify';

/** The header as the OpenAPI document describes it. */
export const LINK = {
  Link: { description: 'The next page, as RFC 8288 has it: rel="next".', type: 'string' },
} as const;

/** Adds a header that leads to the next page. Its address repeats everything else that this request asked for. */
export function nextLink({ url }: FastifyRequest, reply: FastifyReply, nextCursor: string | null): void {
  if (nextCursor === null) return;
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const next = new URLSearchParams(query);
  next.set('cursor', nextCursor);
  reply.header('link', `<${path}?${next.toString()}>; rel="next"`);
}
