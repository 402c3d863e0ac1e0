import type { FastifyReply, FastifyRequest } from 'fastify';
import { MnemoqError } from '../../shared/errors.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';

/** Many proxies close a connection on which nothing was sent for longer than this. */
const LONGEST_WAIT_S = 60;

/**
 * Gives how many milliseconds the client wants to wait, and null when it does not say so. As RFC 7240 has it, a preference that
 * is not understood is ignored, and one that is followed is confirmed in the answer.
 */
export function preferredWait({ headers }: FastifyRequest, reply: FastifyReply): number | null {
  const given = [headers['prefer']].flat().join(',');
  const [, seconds] = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)/i.exec(given) ?? [];
  const wait = Math.min(Number(seconds ?? 0), LONGEST_WAIT_S);
  if (wait === 0) return null;
  reply.header('preference-applied', `wait=${wait}`);
  return wait * 1000;
}

/**
 * Gives the key from the header or from the body. In the header it may stand in quotes, as the draft of the IETF wants it
 * (draft-ietf-httpapi-idempotency-key-header-07).
 */
export function idempotencyKey({ headers }: FastifyRequest, inBody: string | undefined): string | undefined {
  const given = headers['idempotency-key'];
  if (given === undefined) return inBody;
  const key = validate(identifier, String(given).replace(/^"(.*)"$/s, '$1'), 'Idempotency-Key');
  if (inBody === undefined || inBody === key) return key;
  const expected = 'the same as idempotency_key in the body';
  throw new MnemoqError('invalid_input', `Idempotency-Key: expected ${expected}, received another`, {
    problems: [{ field: 'Idempotency-Key', expected, received: 'another' }],
  });
}
