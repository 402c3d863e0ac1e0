import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyOptions,
} from 'jose';
import { z } from 'zod';
import type { ApiKey } from '../../shared/secrets/api-keys.ts';
import type { Config } from '../../shared/settings/variables.ts';
import { type Environment, loadConfig } from '../../shared/settings/config.ts';
import { MnemoqError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/telemetry/log.ts';

/** Who is asking. */
export interface Caller {
  /** The name of the API key; `supabase` for a signed-in user; `local` where no keys are configured. */
  name: string;
  /** The only user whose records the caller may see and erase. It is null for a service, which may see everything. */
  userId: string | null;
}

export type AuthConfig = Pick<Config, 'apiKeys' | 'supabaseJwtSecret' | 'supabaseJwksUrl'>;

/**
 * The algorithms with which Supabase signs a user's token when it does not use the shared secret. A public key may check a
 * token of these algorithms and of no others.
 */
const ASYMMETRIC = ['ES256', 'RS256', 'EdDSA', 'Ed25519', 'ES384', 'ES512', 'RS384', 'RS512', 'PS256'];
/** How many seconds the clock of Supabase may differ from the clock of this machine. */
const CLOCK_TOLERANCE = 5;
const JWKS_TIMEOUT_MS = 5_000;

/** Supabase Auth gives these claims to signed-in users. Tokens of anon and service_role have neither `sub` nor this role. */
const userClaims = z.object({ sub: z.guid().toLowerCase(), role: z.literal('authenticated') });
const VERIFY: JWTVerifyOptions = {
  audience: 'authenticated',
  requiredClaims: ['exp', 'sub'],
  clockTolerance: CLOCK_TOLERANCE,
};

/** An API key as this process keeps it. The secret cannot be read back from it. */
type KnownKey = Omit<ApiKey, 'secret'> & { digest: Buffer };

/** Finds out who is asking, from an API key or from the token of a Supabase user. */
export class Authenticator {
  readonly #salt = randomBytes(32);
  #keys: KnownKey[] = [];
  #verifiers: { algorithms: readonly string[]; verify: (token: string) => Promise<JWTPayload> }[] = [];

  constructor(config: AuthConfig) {
    this.#take(config);
  }

  /** True where no keys are configured: then everybody on this machine is a service, and nobody else gets in. */
  get open(): boolean {
    return this.#keys.length + this.#verifiers.length === 0;
  }

  /**
   * Gives the caller who comes with this `Authorization` header, and null for a stranger. Where no keys are configured, only
   * requests for a loopback name are taken, because a web page on another host can let its own name lead to this machine (DNS
   * rebinding). Throws `supabase_unavailable` when only SUPABASE_JWKS_URL could tell who it is and does not answer.
   */
  async authenticate(authorization: string | undefined, host?: string): Promise<Caller | null> {
    if (this.open) return isLoopbackAuthority(host) ? { name: 'local', userId: null } : null;
    const [, scheme = '', credentials = ''] = /^(\w+) +(\S+) *$/.exec(authorization ?? '') ?? [];
    if (scheme.toLowerCase() === 'basic') return this.#byNameAndSecret(credentials);
    if (scheme.toLowerCase() !== 'bearer') return null;
    return this.#bySecret(credentials) ?? (await this.#byToken(credentials));
  }

  /**
   * Reads the keys again. When the new ones cannot be read, or when there are none although there were some before, the known
   * keys stay in place and the reason is logged: a mistake must not open a door that was locked.
   */
  reload(read: () => Environment, logger: Logger): void {
    try {
      const config = loadConfig(read(), []);
      if (!this.open && !hasKeys(config)) throw new Error('there are none');
      this.#take(config);
      logger.info({ keys: config.apiKeys?.map(({ name }) => name) ?? [] }, 'API keys read anew');
    } catch (error) {
      logger.error({ reason: messageOf(error) }, 'API keys not read anew; those known before hold');
    }
  }

  #take({ apiKeys = [], supabaseJwtSecret, supabaseJwksUrl }: AuthConfig): void {
    this.#keys = apiKeys.map(({ secret, ...key }) => ({ ...key, digest: this.#digest(secret) }));
    this.#verifiers = [];
    if (supabaseJwtSecret !== undefined) {
      const key = new TextEncoder().encode(supabaseJwtSecret);
      this.#verifiers.push(verifier(['HS256'], async (token, options) => jwtVerify(token, key, options)));
    }
    if (supabaseJwksUrl !== undefined) {
      const keys = createRemoteJWKSet(new URL(supabaseJwksUrl), { timeoutDuration: JWKS_TIMEOUT_MS });
      this.#verifiers.push(verifier(ASYMMETRIC, async (token, options) => jwtVerify(token, keys, options)));
    }
  }

  #byNameAndSecret(credentials: string): Caller | null {
    const [name, secret] = Buffer.from(credentials, 'base64').toString().split(/:(.*)/s);
    const caller = this.#bySecret(secret ?? '');
    return caller?.name === name ? caller : null;
  }

  /** Compares digests, and with every key, so that the time it takes tells nothing about any secret. */
  #bySecret(secret: string): Caller | null {
    const given = this.#digest(secret);
    let caller: Caller | null = null;
    for (const { digest, name, userId } of this.#keys) {
      if (timingSafeEqual(digest, given)) caller = { name, userId };
    }
    return caller;
  }

  async #byToken(token: string): Promise<Caller | null> {
    const algorithm = algorithmOf(token);
    const known = this.#verifiers.find(({ algorithms }) => algorithms.includes(algorithm));
    if (!known) return null;
    const claims = userClaims.safeParse(await claimsOf(known.verify(token)));
    return claims.success ? { name: 'supabase', userId: claims.data.sub } : null;
  }

  #digest(secret: string): Buffer {
    return createHmac('sha256', this.#salt).update(secret).digest();
  }
}

/** Each kind of key checks only its own algorithms: a public key must never be used as a shared secret. */
function verifier(
  algorithms: string[],
  verify: (token: string, options: JWTVerifyOptions) => Promise<{ payload: JWTPayload }>,
) {
  return { algorithms, verify: async (token: string) => (await verify(token, { ...VERIFY, algorithms })).payload };
}

function algorithmOf(token: string): string {
  try {
    return decodeProtectedHeader(token).alg ?? '';
  } catch {
    return '';
  }
}

/** Gives null when the token is not valid. An error that is thrown says nothing about the token. */
async function claimsOf(verification: Promise<JWTPayload>): Promise<JWTPayload | null> {
  try {
    return await verification;
  } catch (error) {
    if (error instanceof errors.JOSEError && !isOutage(error)) return null;
    throw new MnemoqError('supabase_unavailable', 'the keys of SUPABASE_JWKS_URL cannot be had', { cause: error });
  }
}

/** When the answer is not a key set, jose 6.2 throws a plain JOSEError, which is known by this code. */
function isOutage(error: errors.JOSEError): boolean {
  return (
    error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || error.code === 'ERR_JOSE_GENERIC'
  );
}

function hasKeys({ apiKeys, supabaseJwtSecret, supabaseJwksUrl }: AuthConfig): boolean {
  return (apiKeys ?? supabaseJwtSecret ?? supabaseJwksUrl) !== undefined;
}

/**
 * Throws `invalid_configuration` where a server would listen beyond this machine without any keys, because then anybody could
 * come in. `variable` is the variable that says where it listens.
 */
export function requireKeysBeyondLoopback(config: AuthConfig, variable: string, host: string): void {
  if (hasKeys(config) || isLoopback(host)) return;
  const message =
    `the configuration is not complete:\n  ${variable}: expected a loopback address, for none of MEMORY_API_KEYS, ` +
    `SUPABASE_JWT_SECRET and SUPABASE_JWKS_URL is set, found "${host}"`;
  throw new MnemoqError('invalid_configuration', message);
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host);
}

/** Whether a `Host` header names this machine. It holds a name or an address, which may have brackets and a port. */
function isLoopbackAuthority(host = ''): boolean {
  const [, name = ''] = /^\[?(.*?)\]?(?::\d+)?$/s.exec(host) ?? [];
  return isLoopback(name);
}

/**
 * Gives the user whose records a call is about: the user to whom the caller is bound, or the user whom a service names. Throws
 * `forbidden` when a bound caller names another user.
 */
export function userFor(caller: Caller, userId: string | undefined): string | undefined {
  if (caller.userId === null || userId === undefined) return caller.userId ?? userId;
  if (userId !== caller.userId) throw new MnemoqError('forbidden', 'this key is bound to another user');
  return userId;
}

/** Throws `forbidden` unless the caller is a service. */
export function requireService(caller: Caller): void {
  if (caller.userId !== null) throw new MnemoqError('forbidden', 'this is for service keys');
}
