/**
 * The steps of a conversation in Redis. Each is one Lua script and so atomic. short-term.ts says what they mean.
 * Positions are compared by ZRANGEBYLEX and ZLEXCOUNT, which compare bytes, because `<` in Lua follows the locale of the
 * server.
 */

/**
 * Drops committed records that are no longer among the newest `limit`. It looks at `count` places below that border.
 * Where a dropped record was within the complete part of the cache, the complete part begins at the border from now on.
 */
const TRIM = `
local function trim(conversation, order, uncommitted, limit, count)
  local border = redis.call('ZREVRANGE', order, limit - 1, limit - 1)[1]
  if not border then return end
  local floor = redis.call('HGET', conversation, 'floor')
  for _, position in ipairs(redis.call('ZREVRANGE', order, limit, limit + count - 1)) do
    if not redis.call('ZSCORE', uncommitted, position) then
      if floor and redis.call('ZLEXCOUNT', order, '[' .. floor, '[' .. position) > 0 then
        redis.call('HSET', conversation, 'floor', border)
      end
      redis.call('ZREM', order, position)
      redis.call('HDEL', conversation, string.match(position, '|(.+)$'))
    end
  end
end
`;

/** Gives a committed conversation its time to live, and takes it from one that has something uncommitted. */
const EXPIRE = `
local function expire(conversation, order, uncommitted, ttl)
  if redis.call('EXISTS', uncommitted) == 1 then
    redis.call('PERSIST', conversation)
    redis.call('PERSIST', order)
  else
    redis.call('PEXPIRE', conversation, ttl)
    redis.call('PEXPIRE', order, ttl)
  end
end
`;

/**
 * Tells those who listen what has happened (events.ts), in the step in which it happens. It is called after a command that
 * needs no memory, or where nothing is refused any more, so that a full Redis cannot refuse this command alone.
 */
const TELL = `
local function tell(events, kept, type, data)
  redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'type', type, 'data', data)
end
`;

/** Counts a turn of a user, by which reflections become due, and tells how many there are since the last reflection. */
const COUNT_TURN = `
local function countTurn(reflector, userId, keptMs)
  redis.call('HINCRBY', reflector, 'turns:' .. userId, 1)
  local time = redis.call('TIME')
  redis.call('HSET', reflector, 'last:' .. userId, time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
  redis.call('PEXPIRE', reflector, keptMs)
end
local function due(reflector, userId)
  local found = redis.call('HMGET', reflector, 'turns:' .. userId, 'reflected:' .. userId, 'request:' .. userId)
  return tonumber(found[1] or 0) - tonumber(found[2] or 0), found[3] and 1 or 0
end
`;

/**
 * KEYS conversation order uncommitted pending index erased events reflector; ARGV id position json contextId limit bytes
 * userId kept event traceparent countedMs. `traceparent` is '' where nobody traces. `countedMs` is how long the count of the
 * user's turns is kept, and 0 where turns are not counted.
 * Returns {1 if added, pending length, the stream entry of the record or '', turns since the user's last reflection, 1 if a
 * reflection is asked for}, or {-1, …} where the user or the conversation was erased.
 */
export const REMEMBER = `${TRIM}${TELL}${COUNT_TURN}
local conversation, order, uncommitted, pending, index, erased, events, reflector = unpack(KEYS)
local id, position, json, contextId, limit, bytes, userId, kept, event, traceparent, countedMs = unpack(ARGV)
if redis.call('HEXISTS', erased, 'conversation:' .. contextId) + redis.call('HEXISTS', erased, 'user:' .. userId) > 0 then
  return {-1, 0, ''}
end
local known = redis.call('HGET', index, id)
if known then return {0, redis.call('XLEN', pending), string.match(known, '^%S*'), due(reflector, userId)} end
if redis.call('HEXISTS', conversation, id) == 1 then return {0, redis.call('XLEN', pending), '', due(reflector, userId)} end
local fields = {'contextId', contextId, 'id', id, 'bytes', bytes}
if traceparent ~= '' then
  fields[7], fields[8] = 'traceparent', traceparent
end
local entry = redis.call('XADD', pending, '*', unpack(fields))
redis.call('HSET', index, id, entry .. ' ' .. contextId)
redis.call('HSET', conversation, id, json)
redis.call('ZADD', order, 0, position)
redis.call('ZADD', uncommitted, 0, position)
redis.call('PERSIST', conversation)
redis.call('PERSIST', order)
trim(conversation, order, uncommitted, tonumber(limit), 2)
tell(events, kept, 'record.cached', event)
if countedMs ~= '0' then countTurn(reflector, userId, countedMs) end
return {1, redis.call('XLEN', pending), entry, due(reflector, userId)}
`;

/** The entry under which a record is pending now, or false. A worker that comes late may know an older entry. */
const CURRENT = `
local function current(index, id)
  local known = redis.call('HGET', index, id)
  return known and string.match(known, '^%S*')
end
`;

/**
 * KEYS conversation order uncommitted refill pending index events; ARGV group limit ttl kept contextId, then id position
 * entry inserted event of each record. `event` is the JSON of the record's part of `records.committed`.
 * A record that is pending under another entry than the acknowledged one was delivered again since then. Such a record is left
 * alone.
 * `inserted` is 0 where Supabase had the id already. Then the row there is the truth, so the cached copy goes, and the complete
 * part of the cache is unknown until the next refill.
 */
export const ACKNOWLEDGE = `${TRIM}${EXPIRE}${CURRENT}${TELL}
local conversation, order, uncommitted, refill, pending, index, events = unpack(KEYS)
local group, limit, ttl, kept, contextId = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local committed = {}
for i = 6, #ARGV, 5 do
  local id, position, entry, inserted, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local now = current(index, id)
  if entry == '' then entry = now or '' end
  if entry ~= '' then
    redis.call('XACK', pending, group, entry)
    redis.call('XDEL', pending, entry)
  end
  local again = now and now ~= entry
  if not again then redis.call('HDEL', index, id) end
  if not again and redis.call('ZREM', uncommitted, position) == 1 then
    committed[#committed + 1] = event
    if inserted == '0' then
      redis.call('HDEL', conversation, id, 'floor')
      redis.call('ZREM', order, position)
    else
      local rank = redis.call('ZREVRANK', order, position)
      if rank and rank >= limit then trim(conversation, order, uncommitted, rank, 1) end
    end
  end
end
redis.call('DEL', refill)
expire(conversation, order, uncommitted, ttl)
if #committed > 0 then
  local data = '{"contextId":' .. contextId .. ',"records":[' .. table.concat(committed, ',') .. ']}'
  tell(events, kept, 'records.committed', data)
end
`;

/**
 * KEYS pending index events; ARGV group id entry kept event. `event` is '' where nobody is told. Without an entry the record is
 * off the stream already, because of an earlier delivery of the same record.
 * Takes a refused record off the stream. The record stays uncommitted, so it is not trimmed, does not expire and is in every
 * read, until it is mended and acknowledged.
 */
export const SET_ASIDE = `${CURRENT}${TELL}
local pending, index, events = unpack(KEYS)
local group, id, entry, kept, event = unpack(ARGV)
if entry == '' then return end
redis.call('XACK', pending, group, entry)
redis.call('XDEL', pending, entry)
if current(index, id) ~= entry then return end
redis.call('HDEL', index, id)
if event ~= '' then tell(events, kept, 'record.quarantined', event) end
`;

/** KEYS conversation order; ARGV limit. Returns {1 if these are certainly the newest records, the records newest first}. */
export const RECENT = `
local conversation, order = KEYS[1], KEYS[2]
local limit = tonumber(ARGV[1])
local floor = redis.call('HGET', conversation, 'floor')
local complete = 0
if floor and (floor == '0' or redis.call('ZLEXCOUNT', order, '[' .. floor, '+') >= limit) then complete = 1 end
local records = {}
for _, position in ipairs(redis.call('ZREVRANGE', order, 0, limit - 1)) do
  records[#records + 1] = redis.call('HGET', conversation, string.match(position, '|(.+)$'))
end
return {complete, records}
`;

/**
 * KEYS conversation order uncommitted; ARGV after limit. Returns {1 if the whole conversation is cached, the records oldest
 * first}. These are records of the whole conversation if it is cached, otherwise only those that Supabase does not have yet.
 */
export const AFTER = `
local conversation, order, uncommitted = unpack(KEYS)
local whole = redis.call('HGET', conversation, 'floor') == '0'
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local records = {}
for _, position in ipairs(redis.call('ZRANGEBYLEX', whole and order or uncommitted, from, '+', 'LIMIT', 0, ARGV[2])) do
  records[#records + 1] = redis.call('HGET', conversation, string.match(position, '|(.+)$'))
end
return {whole and 1 or 0, records}
`;

/**
 * KEYS conversation order uncommitted refill; ARGV token limit ttl floor, then id position json of each record.
 * Does nothing when the token is gone. Then something was committed, and perhaps dropped, since Supabase was read.
 */
export const REFILL = `${TRIM}${EXPIRE}
local conversation, order, uncommitted, refill = unpack(KEYS)
local token, limit, ttl, floor = unpack(ARGV)
if redis.call('GET', refill) ~= token then return 0 end
local count = 0
for i = 5, #ARGV, 3 do
  if redis.call('HSETNX', conversation, ARGV[i], ARGV[i + 2]) == 1 then redis.call('ZADD', order, 0, ARGV[i + 1]) end
  count = count + 1
end
redis.call('HSET', conversation, 'floor', floor)
trim(conversation, order, uncommitted, tonumber(limit), count)
redis.call('DEL', refill)
expire(conversation, order, uncommitted, ttl)
return 1
`;

/** KEYS conversation; ARGV id json. Replaces a cached record, and does nothing when it is no longer cached. */
export const REPLACE = `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
`;

/**
 * KEYS conversation order uncommitted; ARGV longest time to live left. Drops the cache of a conversation that Supabase has
 * whole and that has no more than that time to live left. Returns 1 if it was dropped.
 */
export const DROP = `
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
`;

/**
 * KEYS conversation order uncommitted refill index; ARGV mark ttl. Takes the records whose JSON contains the mark out of the
 * conversation and off the index; with an empty mark it takes every record. A flush then finds nothing under their entries and
 * drops the entries. A refill that is under way is called off. Returns {how many records were cached, how many were pending}.
 */
export const ERASE = `${EXPIRE}
local conversation, order, uncommitted, refill, index = unpack(KEYS)
local mark, ttl = ARGV[1], ARGV[2]
local cached, pending = 0, 0
redis.call('DEL', refill)
for _, position in ipairs(redis.call('ZRANGE', order, 0, -1)) do
  local id = string.match(position, '|(.+)$')
  local json = redis.call('HGET', conversation, id)
  if json and (mark == '' or string.find(json, mark, 1, true)) then
    redis.call('HDEL', conversation, id)
    redis.call('ZREM', order, position)
    redis.call('ZREM', uncommitted, position)
    pending = pending + redis.call('HDEL', index, id)
    cached = cached + 1
  end
end
if redis.call('EXISTS', order) == 0 then
  redis.call('DEL', conversation)
elseif cached > 0 then
  expire(conversation, order, uncommitted, ttl)
end
return {cached, pending}
`;
