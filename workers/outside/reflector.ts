import { UnrecoverableError } from 'bullmq';
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { Reflector } from '../../shared/process/reflector.ts';
import { TEXT_BYTES, textOfRecord } from '../../shared/records/jobs.ts';
import type { ConfigWith } from '../../shared/settings/config.ts';
import { validate } from '../../shared/validate.ts';
import { mayPass, signedPost } from './signed-post.ts';

export type ReflectorConfig = ConfigWith<'reflectorUrl'>;

/** The longest text as JSON, where an escaped character takes six bytes, and some room for the rest of the answer. */
const ANSWER_BYTES = 6 * TEXT_BYTES + 65_536;
const ANSWER = "the reflector's answer";
const answer = z.object({ text: textOfRecord.nullable() });

/**
 * A reflector behind a URL. It gets the context as JSON, signed where there is a secret. It answers `{"text": …}`, or 204 when
 * there is no reflection to write. Errors repeat neither the address nor the answer, because both may be secret.
 */
export function reflectorAt(config: ReflectorConfig): Reflector {
  const endpoint = {
    url: config.reflectorUrl,
    secret: config.reflectorSecret,
    timeoutMs: config.reflectorTimeoutMs,
  };
  return async (context) => {
    const outcome = await signedPost(endpoint, context, ANSWER_BYTES);
    if (outcome.status === null) throw new MnemoqError('timeout', `the reflector does not answer: ${outcome.reason}`);
    if (outcome.status === 204) return null;
    if (outcome.status !== 200) throw refusalOf(outcome.status);
    return validate(answer, parse(outcome.body), ANSWER).text;
  };
}

/** Takes null for an answer that is longer than any reflection can be. */
function parse(body: Buffer | null): unknown {
  if (body === null) throw wrong(`at most ${ANSWER_BYTES} bytes`, 'more');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw wrong('JSON in UTF-8', `${body.length} bytes that are not`);
  }
}

function wrong(expected: string, received: string): MnemoqError {
  return new MnemoqError('invalid_input', `${ANSWER} is not valid: expected ${expected}, received ${received}`, {
    problems: [{ field: ANSWER, expected, received }],
  });
}

/** A refusal that may pass puts the job off, as often as it takes. Every other refusal ends the job. */
function refusalOf(status: number): Error {
  const reason = `the reflector answered ${status}`;
  return mayPass(status) ? new MnemoqError('timeout', reason) : new UnrecoverableError(reason);
}
