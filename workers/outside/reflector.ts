import { UnrecoverableError } from 'bullmq';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import type { ConfigWith } from '../../shared/settings/config.ts';
import { MnemoqError } from '../../shared/errors.ts';
import { TEXT_BYTES, textOfRecord } from '../../shared/records/records.ts';
import type { Reflector, ReflectorContext } from '../../shared/process/reflector.ts';
import { toSnake } from '../../shared/snake-case.ts';
import { validate } from '../../shared/validate.ts';

export type ReflectorConfig = ConfigWith<'reflectorUrl'>;

/** A text as JSON, every character escaped, and some room beside it. */
const ANSWER_BYTES = 6 * TEXT_BYTES + 65_536;
const ANSWER = "the reflector's answer";
const answer = z.object({ text: textOfRecord.nullable() });

/**
 * A reflector behind a URL: gets the context as JSON, signed as Standard Webhooks has it where there is a secret, and
 * answers `{"text": …}`, or 204 for none. Neither the address nor what it answered is repeated in an error.
 */
export function reflectorAt(config: ReflectorConfig): Reflector {
  return async (context) => {
    const response = await post(context, config);
    if (response.status === 204) return null;
    if (response.status !== 200) throw refusalOf(response.status);
    return validate(answer, response.body, ANSWER).text;
  };
}

async function post(context: ReflectorContext, config: ReflectorConfig): Promise<{ status: number; body: unknown }> {
  const body = JSON.stringify(toSnake(context));
  const signal = AbortSignal.timeout(config.reflectorTimeoutMs);
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'mnemoq',
    ...signature(context.id, body, config),
  };
  let bytes: Buffer | null;
  let status: number;
  try {
    const response = await fetch(config.reflectorUrl, { method: 'POST', body, headers, redirect: 'manual', signal });
    status = response.status;
    bytes = status === 200 ? await read(response) : Buffer.alloc(0);
    if (status !== 200) await response.body?.cancel().catch(() => undefined);
  } catch (error) {
    const { name, cause } = error as Error;
    const reason = (cause as NodeJS.ErrnoException | undefined)?.code ?? name;
    throw new MnemoqError('timeout', `the reflector does not answer: ${reason}`);
  }
  if (bytes === null) throw wrong(`at most ${ANSWER_BYTES} bytes`, 'more');
  return { status, body: status === 200 ? parse(bytes) : null };
}

function signature(id: string, body: string, { reflectorSecret }: ReflectorConfig): Record<string, string> {
  if (reflectorSecret === undefined) return {};
  const now = new Date();
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Webhook(reflectorSecret).sign(id, now, body),
  };
}

/** Null where it is larger than any answer. */
async function read(response: Response): Promise<Buffer | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw wrong('JSON in UTF-8', `${bytes.length} bytes that are not`);
  }
}

function wrong(expected: string, received: string): MnemoqError {
  return new MnemoqError('invalid_input', `${ANSWER} is not valid: expected ${expected}, received ${received}`, {
    problems: [{ field: ANSWER, expected, received }],
  });
}

/** What may pass is tried again, as long as it takes. */
function refusalOf(status: number): Error {
  const reason = `the reflector answered ${status}`;
  const mayPass = status >= 500 || status === 408 || status === 429;
  return mayPass ? new MnemoqError('timeout', reason) : new UnrecoverableError(reason);
}
