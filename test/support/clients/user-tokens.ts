import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';

/** What Supabase Auth puts into a signed-in user's token. */
export function claims(userId: string, more: JWTPayload = {}): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  return { sub: userId, role: 'authenticated', aud: 'authenticated', iat: now, exp: now + 600, ...more };
}

/** A token signed with the project's shared secret. */
export async function hs256Token(secret: string, payload: JWTPayload, alg = 'HS256'): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg, typ: 'JWT' }).sign(new TextEncoder().encode(secret));
}

/** One that says it needs no signature. */
export function unsignedToken(payload: JWTPayload, alg = 'none'): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg, typ: 'JWT' })}.${part(payload)}.`;
}

export interface KeyServer {
  url: string;
  /** The public key as PEM, which everybody may have. */
  publicPem: string;
  sign(payload: JWTPayload): Promise<string>;
  /** What it answers from now on; 200 with the keys at first. */
  answerWith(status: number): void;
  stop(): void;
}

/** The keys of a project that signs with ES256, served as Supabase Auth does. */
export async function startKeyServer(): Promise<KeyServer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
  let status = 200;
  const server = createServer((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [jwk] }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth/v1/.well-known/jwks.json`,
    publicPem: await exportSPKI(publicKey),
    sign: async (payload) =>
      new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'JWT' }).sign(privateKey),
    answerWith: (next) => (status = next),
    stop: () => server.close(),
  };
}
