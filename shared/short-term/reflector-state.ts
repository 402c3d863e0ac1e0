import { ERASED_MESSAGE, type ErasureScope } from './erasures.ts';
import { MnemoqError } from '../errors.ts';
import type { Keys } from './keys.ts';
import type { RedisClient } from '../redis/connection.ts';
import { scanKeys } from '../redis/nodes.ts';
import { TURNS_COUNTED_MS } from './short-term.ts';

/** How many keys Redis looks at in one step of a scan. */
const SCANNED_AT_ONCE = 1_000;

/** KEYS reflector erased; ARGV contextId userId request ttl. Returns 0 where the user or the conversation was erased. */
const ASK = `
local reflector, erased = unpack(KEYS)
local contextId, userId, request, ttl = unpack(ARGV)
if redis.call('HEXISTS', erased, 'conversation:' .. contextId) + redis.call('HEXISTS', erased, 'user:' .. userId) > 0 then
  return 0
end
redis.call('HSET', reflector, 'request:' .. userId, request)
redis.call('PEXPIRE', reflector, ttl)
return 1
`;

/** KEYS reflector; ARGV userId. Returns {turns, reflected, request, ms since the last turn}; request is '' where there is none. */
const LOOK = `
local userId = ARGV[1]
local turns, reflected, last, request = unpack(redis.call('HMGET', KEYS[1], 'turns:' .. userId, 'reflected:' .. userId,
  'last:' .. userId, 'request:' .. userId))
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {turns or '0', reflected or '0', request or '', last and now - tonumber(last) or 0}
`;

/**
 * KEYS reflector; ARGV userId turns request. Counts that were forgotten since then stay forgotten, and a request that came
 * since then stays.
 */
const SETTLE = `
local reflector, userId, turns, request = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local counted, reflected, waiting = unpack(redis.call('HMGET', reflector, 'turns:' .. userId, 'reflected:' .. userId,
  'request:' .. userId))
if counted and turns <= tonumber(counted) and turns > tonumber(reflected or 0) then
  redis.call('HSET', reflector, 'reflected:' .. userId, turns)
end
if waiting and request ~= '' and cjson.decode(waiting).id == request then
  redis.call('HDEL', reflector, 'request:' .. userId)
end
`;

type Script = (...args: (string | number)[]) => Promise<unknown>;
interface Scripts {
  mnemoqAsk: Script;
  mnemoqLook: Script;
  mnemoqSettle: Script;
}

/** Whose turns are meant: those of a user in a conversation or, without a user, all turns of the conversation. */
export interface ReflectionOwner {
  contextId: string;
  userId?: string | undefined;
}

export interface AskedReflection {
  id: string;
  focus: string | null;
}

export interface ReflectorLook {
  /** How many turns were counted so far. */
  turns: number;
  /** How many of them came since the last reflection. */
  due: number;
  request: AskedReflection | null;
  /** By the clock of Redis. */
  msSinceLastTurn: number;
}

/**
 * What is due to be reflected on. Each turn is counted once, in the step that remembers it (scripts.ts). So the jobs of queue
 * `reflector` only say where to look, and what they find here decides.
 */
export class ReflectorState {
  readonly #redis: RedisClient & Scripts;
  readonly #keys: Keys;

  constructor(redis: RedisClient, keys: Keys) {
    redis.defineCommand('mnemoqAsk', { lua: ASK, numberOfKeys: 2 });
    redis.defineCommand('mnemoqLook', { lua: LOOK, numberOfKeys: 1, readOnly: true });
    redis.defineCommand('mnemoqSettle', { lua: SETTLE, numberOfKeys: 1 });
    this.#redis = redis as RedisClient & Scripts;
    this.#keys = keys;
  }

  /**
   * Asks for a reflection, in place of an earlier request that was not begun yet. Throws `erased` for a user or a
   * conversation that was erased.
   */
  async ask({ contextId, userId = '' }: ReflectionOwner, request: AskedReflection): Promise<void> {
    const taken = await this.#redis.mnemoqAsk(
      this.#keys.reflector(contextId),
      this.#keys.erased(this.#keys.shardOf(contextId)),
      contextId,
      userId,
      JSON.stringify(request),
      TURNS_COUNTED_MS,
    );
    if (taken === 0) throw new MnemoqError('erased', ERASED_MESSAGE);
  }

  async look({ contextId, userId = '' }: ReflectionOwner): Promise<ReflectorLook> {
    const found = await this.#redis.mnemoqLook(this.#keys.reflector(contextId), userId);
    const [turns, reflected, request, msSinceLastTurn] = found as [string, string, string, number];
    return {
      turns: Number(turns),
      due: Number(turns) - Number(reflected),
      request: request === '' ? null : JSON.parse(request),
      msSinceLastTurn,
    };
  }

  /** Marks these turns and this request as done. Repeating it changes nothing. */
  async settle({ contextId, userId = '' }: ReflectionOwner, turns: number, request: string | null): Promise<void> {
    await this.#redis.mnemoqSettle(this.#keys.reflector(contextId), userId, turns, request ?? '');
  }

  /** Forgets what was counted and what was asked for. */
  async erase({ userId, contextId }: ErasureScope): Promise<void> {
    if (contextId !== undefined) return this.#erase(this.#keys.reflector(contextId), userId);
    for await (const keys of scanKeys(this.#redis, this.#keys.reflectors, SCANNED_AT_ONCE)) {
      await Promise.all(keys.map((key) => this.#erase(key, userId)));
    }
  }

  async #erase(key: string, userId: string | undefined): Promise<void> {
    if (userId === undefined) await this.#redis.del(key);
    else await this.#redis.hdel(key, ...['turns', 'reflected', 'last', 'request'].map((field) => `${field}:${userId}`));
  }
}
