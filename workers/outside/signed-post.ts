/**
 * **workers/outside/**: the workers that call somebody else's server, which is the endpoint of a webhook or a reflector.
 */
import { Webhook } from 'standardwebhooks';
import { toSnake } from '../../shared/snake-case.ts';

/** A server that somebody else runs. */
export interface Endpoint {
  url: string;
  /** A secret in the form of Standard Webhooks. Without it the request carries no signature. */
  secret: string | undefined;
  timeoutMs: number;
}

/** The endpoint answered with a status, or it did not answer; `reason` is then the system's or fetch's word for it. */
export type Outcome = { status: number; body: Buffer | null } | { status: null; reason: string };

/**
 * Posts a message as JSON, signed as Standard Webhooks has it (https://www.standardwebhooks.com). The body of an answer 200 is
 * read up to `mostBytes`; it is null when it is longer and for every other status. A redirect is not followed: it would carry
 * the message to a server that nobody has configured.
 */
export async function signedPost(
  { url, secret, timeoutMs }: Endpoint,
  message: { id: string },
  mostBytes = 0,
): Promise<Outcome> {
  const body = JSON.stringify(toSnake(message));
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'mnemoq',
    ...(secret !== undefined && signature(message.id, body, secret)),
  };
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal });
    const { status } = response;
    if (status === 200 && mostBytes > 0) return { status, body: await read(response, mostBytes) };
    await response.body?.cancel().catch(() => undefined);
    return { status, body: null };
  } catch (error) {
    const { name, cause } = error as Error;
    return { status: null, reason: (cause as NodeJS.ErrnoException | undefined)?.code ?? name };
  }
}

/** Whether the same request may succeed later: there was no answer, or one that speaks of the endpoint's own state. */
export function mayPass(status: number | null): boolean {
  return status === null || status >= 500 || status === 408 || status === 429;
}

function signature(id: string, body: string, secret: string): Record<string, string> {
  const now = new Date();
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, now, body),
  };
}

async function read(response: Response, mostBytes: number): Promise<Buffer | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > mostBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
