/** Lines: making them, counting them, and what a sweep takes away. */

/** Fields of one queue, in this order, that `open` takes for each. */
export const QUEUE_ARGS = 11;

/**
 * For each queue: line, name, serial, rate (max, per), rate per key (max, per), global concurrency, ended jobs
 * (time, count), dead letters (time). Answers paused and 1 where it became serial, for each.
 */
export const OPEN = `
local answers = {}
for at = 0, #ARGV - 1, ${QUEUE_ARGS} do
  local L = ARGV[at + 1]
  local lk = P .. 'l:' .. L
  local before = call('HMGET', lk, 'ser', 'pau')
  call('SADD', P .. 'lines', L)
  call('HSET', lk, 'kind', 'queue', 'name', ARGV[at + 2], 'ns', '', 'fn', '', 'ser', ARGV[at + 3], 'rm', ARGV[at + 4], 'rp', ARGV[at + 5],
    'km', ARGV[at + 6], 'kp', ARGV[at + 7], 'gc', ARGV[at + 8], 'kem', ARGV[at + 9], 'kec', ARGV[at + 10], 'kd', ARGV[at + 11])
  call('HSETNX', lk, 'since', newId())
  local serial = ARGV[at + 3] == '1'
  if before[1] and before[1] ~= ARGV[at + 3] then
    for _, lane in ipairs(call('SMEMBERS', P .. 'a:' .. L)) do refresh(L, lane, serial) end
  end
  wake(L)
  answers[#answers + 1] = { before[2] or '0', (serial and before[1] == '0') and 1 or 0 }
end
return answers
`;

/** line, how many. A queue that became fifo: its jobs without a group form the group ''. Answers how many are left. */
export const GATHER = `
local L, limit = ARGV[1], tonumber(ARGV[2])
local moved = 0
local function take(id, from)
  local jk = P .. 'j:' .. id
  call('HSET', jk, 'g', '', 'n', 'g')
  moved = moved + 1
end
for _, lane in ipairs(call('SMEMBERS', P .. 'a:' .. L)) do
  if lane:sub(1, 1) == 'f' then
    local qk = P .. 'q:' .. L .. ':' .. lane
    for _, id in ipairs(call('ZRANGE', qk, 0, limit - moved - 1)) do
      call('ZADD', P .. 'q:' .. L .. ':g', call('ZSCORE', qk, id), id)
      call('ZREM', qk, id)
      take(id, lane)
    end
    refresh(L, lane, true)
    if moved >= limit then break end
  end
end
for _, id in ipairs(call('ZRANGE', P .. 'x:' .. L, 0, -1)) do
  local lane = call('HGET', P .. 'j:' .. id, 'n')
  if lane:sub(1, 1) == 'f' then
    call('HINCRBY', P .. 'n:' .. L .. ':' .. lane, 'run', -1)
    call('HINCRBY', P .. 'n:' .. L .. ':g', 'run', 1)
    call('SADD', P .. 'a:' .. L, 'g')
    take(id)
    refresh(L, lane, true)
  end
end
for _, m in ipairs(call('ZRANGE', P .. 'd:' .. L, 0, limit)) do
  local id = m:sub(2)
  if m:sub(1, 1) == 'j' and call('HGET', P .. 'j:' .. id, 'n'):sub(1, 1) == 'f' then take(id) end
end
refresh(L, 'g', true)
return moved
`;

/** Everything that tells the lines apart. */
export const LINES = `
local answers = {}
for _, L in ipairs(call('SMEMBERS', P .. 'lines')) do
  local f = call('HMGET', P .. 'l:' .. L, 'kind', 'name', 'ns', 'fn', 'set', 'ser', 'pau', 'off', 'end', 'exp', 'since')
  if f[1] then answers[#answers + 1] = { L, f } end
end
return answers
`;

/** Lines. For each: n, delayed, running, dead, bytes, paused, offline, ended, expired, functions with their counts, what is told of jobs that expired. */
export const STATS = `
local t = now()
local answers = {}
for i = 1, #ARGV do
  local L = ARGV[i]
  local expired = {}
  tidy(L, t, isSerial(L), expired)
  local f = call('HMGET', P .. 'l:' .. L, 'n', 'b', 'pau', 'off', 'end', 'exp')
  answers[i] = { tonumber(f[1] or 0), call('ZCARD', P .. 'd:' .. L), call('ZCARD', P .. 'x:' .. L), call('ZCARD', P .. 'z:' .. L),
    tonumber(f[2] or 0), f[3] or '', f[4] or '', f[5] or '', f[6] or '0', call('HGETALL', P .. 'f:' .. L), expired }
end
return answers
`;

/** line, 1 or 0. */
export const PAUSE = `
call('HSET', P .. 'l:' .. ARGV[1], 'pau', ARGV[2])
call('HSET', P .. 'l:' .. ARGV[1], 'w', '1')
wake(ARGV[1])
return 1
`;

/**
 * line, engine, 'offline' or 'ended'. A subscription that other engines consume stays as it is. Answers when
 * it went offline and when it ended.
 */
export const LEAVE = `
local L, t = ARGV[1], now()
local lk = P .. 'l:' .. L
call('HDEL', P .. 'c:' .. L, ARGV[2])
local consumers = call('HGETALL', P .. 'c:' .. L)
for i = 1, #consumers, 2 do
  if tonumber(consumers[i + 1]) > t then return { '', '' } end
end
if call('EXISTS', lk) == 0 then return { '', '' } end
if ARGV[3] == 'ended' then
  call('HSETNX', lk, 'end', string.format('%.0f', t))
elseif call('HEXISTS', lk, 'end') == 0 then
  call('HSETNX', lk, 'off', string.format('%.0f', t))
end
local f = call('HMGET', lk, 'off', 'end')
return { f[1] or '', f[2] or '' }
`;

/** Messages that topics hold: topic, count, ... and topic, bytes, ... */
export const HELD = `
return { call('HGETALL', P .. 'held'), call('HGETALL', P .. 'heldb') }
`;

/** topic, time that a message may be held. Answers how many expired. */
export const SWEEP_HELD = `
local topic, t = ARGV[1], now()
local gone = 0
while gone < 1000 do
  local mid = call('LINDEX', P .. 'h:' .. topic, 0)
  if not mid then break end
  local m = call('HMGET', P .. 'm:' .. mid, 'c', 'b')
  if m[1] and tonumber(m[1]) > t - tonumber(ARGV[2]) then break end
  call('LPOP', P .. 'h:' .. topic)
  if m[1] then letGo(mid) end
  if call('HINCRBY', P .. 'held', topic, -1) <= 0 then call('HDEL', P .. 'held', topic) end
  call('HINCRBY', P .. 'heldb', topic, -tonumber(m[2] or 0))
  gone = gone + 1
end
if call('HEXISTS', P .. 'held', topic) == 0 then call('HDEL', P .. 'heldb', topic) end
return gone
`;

/** Topics whose messages stay for a replay. */
export const KEPT = `return call('HKEYS', P .. 'kept')`;

/** topic, replay retention. Answers how many messages need not stay any more. */
export const SWEEP_KEPT = `
local topic, t, keep = ARGV[1], now(), tonumber(ARGV[2])
local old = call('ZRANGEBYSCORE', P .. 'y:' .. topic, '-inf', string.format('%.0f', t - keep), 'LIMIT', 0, 500)
for _, padded in ipairs(old) do
  call('ZREM', P .. 'y:' .. topic, padded)
  local mk = P .. 'm:' .. string.format('%.0f', tonumber(padded))
  if call('EXISTS', mk) == 1 then
    call('HSET', mk, 'kp', '0')
    if tonumber(call('HGET', mk, 'ref')) <= 0 then call('DEL', mk) end
  end
end
if keep == 0 and call('ZCARD', P .. 'y:' .. topic) == 0 then call('HDEL', P .. 'kept', topic) end
return #old
`;

/**
 * line, retention of subscriptions. Applies what time asks of one line. Answers how many dead letters and
 * ended jobs went, and for a subscription: 'offline' or 'ended' when it became so, 'over' when its backlog may go.
 */
export const SWEEP_LINE = `
local L, t = ARGV[1], now()
local lk = P .. 'l:' .. L
tidy(L, t, isSerial(L))
local f = call('HMGET', lk, 'kind', 'kd', 'kem', 'kec', 'off', 'end')
local dead, ended = 0, 0
local keepDead = tonumber(f[2] or 0)
while keepDead > 0 and dead < 500 do
  local id = call('ZRANGE', P .. 'z:' .. L, 0, 0)[1]
  if not id or tonumber(call('HGET', P .. 'j:' .. id, 'fa')) > t - keepDead then break end
  call('ZREM', P .. 'z:' .. L, id)
  endJob(L, id, t, 'discarded')
  dead = dead + 1
end
if f[1] == 'queue' then
  local gone = call('ZRANGEBYSCORE', P .. 'o:' .. L, '-inf', string.format('%.0f', t - tonumber(f[3] or 0)), 'LIMIT', 0, 500)
  local over = call('ZCARD', P .. 'o:' .. L) - #gone - tonumber(f[4] or 0)
  if over > 0 then
    for _, each in ipairs(call('ZRANGE', P .. 'o:' .. L, #gone, #gone + math.min(over, 500) - 1)) do gone[#gone + 1] = each end
  end
  for _, each in ipairs(gone) do
    call('ZREM', P .. 'o:' .. L, each)
    call('HDEL', P .. 'p:' .. L, each)
  end
  return { dead, #gone, '' }
end
local retention, became = tonumber(ARGV[2]), ''
if not f[5] and not f[6] then
  local live = false
  local consumers = call('HGETALL', P .. 'c:' .. L)
  for i = 1, #consumers, 2 do
    if tonumber(consumers[i + 1]) > t then live = true else call('HDEL', P .. 'c:' .. L, consumers[i]) end
  end
  if not live then
    call('HSET', lk, 'off', string.format('%.0f', t))
    became = 'offline'
  end
elseif f[5] and not f[6] and t - tonumber(f[5]) >= retention then
  call('HSET', lk, 'end', string.format('%.0f', t))
  became = 'ended'
elseif f[6] and t - tonumber(f[6]) >= retention then
  became = 'over'
end
return { dead, 0, became }
`;

/** line. Deletes an ended subscription that has nothing left. Answers 1 when it is gone. */
export const DROP_LINE = `
local L = ARGV[1]
local f = call('HMGET', P .. 'l:' .. L, 'name', 'end', 'n')
if not f[2] or tonumber(f[3] or 0) > 0 or call('ZCARD', P .. 'z:' .. L) > 0 then return 0 end
call('SREM', P .. 't:' .. f[1], L)
call('SREM', P .. 'lines', L)
for _, key in ipairs({ 'l:', 'f:', 'a:', 'c:', 'd:', 'k:', 'e:', 'x:' }) do call('DEL', P .. key .. L) end
return 1
`;
