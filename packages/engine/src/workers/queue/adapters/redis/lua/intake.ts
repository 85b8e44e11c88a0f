/** Accepting jobs, publishing messages, subscribing. One script is all or nothing: a full server refuses it whole. */

/** Fields of one job, in this order, that `accept` takes for each. */
export const JOB_ARGS = 21;

const ADD = `
-- a(1) .. a(21): line, head of the receipt, receipt, function, group, data, metadata, traceparent, baggage,
-- created, attempts, backoff, extras, backoff list, priority, rate key, unique key, its window, expiry, due, size
local function add(a, t, line)
  local L = a(1)
  local serial = line[2] == '1'
  -- A client that chose the receipt and asks again asks for the same job.
  if some(a(3)) then
    local known = call('GET', P .. 'i:' .. a(3))
    if known and call('EXISTS', P .. 'j:' .. known) == 1 then return { a(3), 1 } end
  end
  local key = optional(a(17))
  if key then
    tidy(L, t, serial)
    local owner = call('GET', P .. 'u:' .. L .. ':' .. key)
    if owner then
      local at = owner:find(':', 1, true)
      local free = tonumber(owner:sub(1, at - 1))
      if free == 0 or free > t then return { owner:sub(at + 1), 1 } end
    end
  end
  local id = newId()
  local receipt = some(a(3)) or receiptFor(a(2), id)
  local group = optional(a(5))
  if not group and serial and line[1] == 'queue' then group = '' end
  local rateKey = optional(a(16))
  local fn = a(4)
  local lane = laneOf(group, fn, rateKey)
  local pl = (255 - tonumber(a(15))) * STEP + tonumber(id)
  local jk = P .. 'j:' .. id
  call('HSET', jk, 'l', L, 'n', lane, 's', 'r', 'r', receipt, 'k', fn, 'd', a(6), 'c', a(10), 'ma', a(11), 'bo', a(12),
    'a', '0', 'b', a(21), 'pl', string.format('%.0f', pl))
  local more = {}
  local function set(name, value) if value then more[#more + 1] = name; more[#more + 1] = value end end
  set('g', group)
  set('m', some(a(7)))
  set('tp', some(a(8)))
  set('bg', some(a(9)))
  set('x', some(a(13)))
  set('bl', some(a(14)))
  set('rk', rateKey)
  set('u', key)
  set('e', some(a(19)))
  if some(a(3)) then set('own', '1') end
  if #more > 0 then call('HSET', jk, unpack(more)) end
  if key then
    local ms = some(a(18))
    local free = ms and t + tonumber(ms) or 0
    call('SET', P .. 'u:' .. L .. ':' .. key, string.format('%.0f', free) .. ':' .. receipt)
    if ms then call('PEXPIRE', P .. 'u:' .. L .. ':' .. key, tonumber(ms) + 60000) end
  end
  if some(a(3)) then call('SET', P .. 'i:' .. receipt, id) end
  if some(a(19)) then call('ZADD', P .. 'e:' .. L, a(19), id) end
  counted(L, fn, tonumber(a(21)), 1)
  local due = 0
  if a(20):sub(1, 1) == '+' then due = t + tonumber(a(20):sub(2)) elseif a(20) ~= '' then due = tonumber(a(20)) end
  place(L, id, lane, pl, due, t, serial, true)
  if line[3] == '1' then wake(L) end
  return { receipt, 0 }
end
`;

/** Jobs of `JOB_ARGS` fields each. Answers receipt and 1 where a unique key was taken, for each. */
export const ACCEPT = `${ADD}
local t = now()
local answers = {}
local lines = {}
for at = 1, #ARGV, ${JOB_ARGS} do
  local L = ARGV[at]
  lines[L] = lines[L] or call('HMGET', P .. 'l:' .. L, 'kind', 'ser', 'w')
  if not lines[L][1] then return redis.error_reply('NOLINE the line is not known') end
end
for at = 0, #ARGV - 1, ${JOB_ARGS} do
  answers[#answers + 1] = add(function(i) return ARGV[at + i] end, t, lines[ARGV[at + 1]])
end
return answers
`;

const DELIVER = `
-- One message for one subscription.
local function deliver(L, mid, m, head, t, serial, attempts, backoff, fn, extras)
  local id = newId()
  local lane = laneOf(nil, fn, nil)
  local pl = string.format('%.0f', 255 * STEP + tonumber(id))
  local jk = P .. 'j:' .. id
  call('HSET', jk, 'l', L, 'n', lane, 's', 'r', 'r', receiptFor(head, id), 'k', fn, 'mid', mid, 'c', m.c, 'ma', attempts,
    'bo', backoff, 'a', '0', 'b', m.b, 'pl', pl)
  if extras then call('HSET', jk, 'x', extras) end
  counted(L, fn, tonumber(m.b), 1)
  place(L, id, lane, pl, 0, t, serial)
end
-- The oldest that do not run, while there are too many or they are too large. Answers how many expired.
local function trim(L, t, serial, fn, maxJobs, maxBytes)
  local gone = 0
  local lane = laneOf(nil, fn, nil)
  while gone < 100 do
    local line = call('HMGET', P .. 'l:' .. L, 'n', 'b')
    local waiting = tonumber(line[1]) - call('ZCARD', P .. 'x:' .. L)
    if waiting <= maxJobs and tonumber(line[2]) <= maxBytes then break end
    local oldest = call('ZRANGE', P .. 'q:' .. L .. ':' .. lane, 0, 0)[1]
    if not oldest then break end
    pull(L, oldest, serial)
    endJob(L, oldest, t, 'expired')
    gone = gone + 1
  end
  if gone > 0 then
    refresh(L, lane, serial)
    call('HINCRBY', P .. 'l:' .. L, 'exp', gone)
  end
  return gone
end
`;

/**
 * topic, data, traceparent, baggage, created, size, head of receipts, replay retention, bounds of what is
 * held: messages, bytes, topics; share of its bound from which a backlog is nearly full. Answers the reason when
 * nothing more can be held, else for each subscription that is nearly full: line, waiting, bytes, expired.
 */
export const PUBLISH = `${DELIVER}
local topic, t = ARGV[1], now()
local size = tonumber(ARGV[6])
local full = {}
local lines = {}
for _, L in ipairs(call('SMEMBERS', P .. 't:' .. topic)) do
  local line = call('HMGET', P .. 'l:' .. L, 'end', 'ser', 'ma', 'bo', 'fnk', 'mxb', 'mxs')
  if not line[1] and line[5] then lines[#lines + 1] = { L, line } end
end
if #lines == 0 then
  local count = tonumber(call('HGET', P .. 'held', topic) or 0)
  local bytes = tonumber(call('HGET', P .. 'heldb', topic) or 0)
  if count >= tonumber(ARGV[9]) then return count .. ' messages' end
  if count > 0 and bytes + size > tonumber(ARGV[10]) then return bytes .. ' bytes' end
  if count == 0 and call('HLEN', P .. 'held') >= tonumber(ARGV[11]) then
    return 'messages beside ' .. ARGV[11] .. ' other such topics'
  end
end
local mid = newId()
local keep = tonumber(ARGV[8]) > 0
local m = { c = ARGV[5], b = ARGV[6] }
call('HSET', P .. 'm:' .. mid, 't', topic, 'd', ARGV[2], 'tp', ARGV[3], 'bg', ARGV[4], 'c', ARGV[5], 'b', ARGV[6],
  'ref', math.max(#lines, 1), 'kp', keep and '1' or '0')
if keep then
  call('ZADD', P .. 'y:' .. topic, ARGV[5], string.format('%016.0f', tonumber(mid)))
  call('HSETNX', P .. 'kept', topic, ARGV[5])
end
if #lines == 0 then
  call('RPUSH', P .. 'h:' .. topic, mid)
  call('HINCRBY', P .. 'held', topic, 1)
  call('HINCRBY', P .. 'heldb', topic, size)
end
for _, each in ipairs(lines) do
  local L, line = each[1], each[2]
  local serial = line[2] == '1'
  deliver(L, mid, m, ARGV[7], t, serial, line[3], line[4], line[5])
  local maxJobs, maxBytes = tonumber(line[6]), tonumber(line[7])
  local expired = trim(L, t, serial, line[5], maxJobs, maxBytes)
  local counts = call('HMGET', P .. 'l:' .. L, 'n', 'b')
  local waiting = tonumber(counts[1]) - call('ZCARD', P .. 'x:' .. L)
  local near = tonumber(ARGV[12])
  if expired > 0 or waiting >= near * maxJobs or tonumber(counts[2]) >= near * maxBytes then
    full[#full + 1] = { L, waiting, tonumber(counts[2]), expired }
  end
  wake(L)
end
return full
`;

/**
 * line, topic, namespace, function id, settings, fifo, attempts, backoff, most messages, most bytes, engine, when
 * it counts as gone (milliseconds from now), head of receipts. Makes or renews a subscription and gives it
 * what its topic held.
 */
export const SUBSCRIBE = `${DELIVER}
local L, topic, t = ARGV[1], ARGV[2], now()
local fn = ARGV[3] .. '\\0' .. ARGV[4]
local serial = ARGV[6] == '1'
call('SADD', P .. 'lines', L)
call('SADD', P .. 't:' .. topic, L)
call('HSET', P .. 'l:' .. L, 'kind', 'subscription', 'name', topic, 'ns', ARGV[3], 'fn', ARGV[4], 'set', ARGV[5], 'ser', ARGV[6],
  'ma', ARGV[7], 'bo', ARGV[8], 'fnk', fn, 'mxb', ARGV[9], 'mxs', ARGV[10])
call('HSETNX', P .. 'l:' .. L, 'since', newId())
call('HDEL', P .. 'l:' .. L, 'off', 'end')
call('HSET', P .. 'c:' .. L, ARGV[11], string.format('%.0f', t + tonumber(ARGV[12])))
local held = call('LRANGE', P .. 'h:' .. topic, 0, -1)
for _, mid in ipairs(held) do
  local f = call('HMGET', P .. 'm:' .. mid, 'c', 'b')
  if f[1] then deliver(L, mid, { c = f[1], b = f[2] }, ARGV[13], t, serial, ARGV[7], ARGV[8], fn) end
end
if #held > 0 then
  call('DEL', P .. 'h:' .. topic)
  call('HDEL', P .. 'held', topic)
  call('HDEL', P .. 'heldb', topic)
end
for _, lane in ipairs(call('SMEMBERS', P .. 'a:' .. L)) do refresh(L, lane, serial) end
wake(L)
return call('HMGET', P .. 'l:' .. L, 'pau', 'exp')
`;

/** line, since, up to (message id), after (offset), how many, head of receipts. Answers how many were made. */
export const REPLAY = `${DELIVER}
local L, t = ARGV[1], now()
local line = call('HMGET', P .. 'l:' .. L, 'name', 'ser', 'ma', 'bo', 'fnk')
local mids = call('ZRANGEBYSCORE', P .. 'y:' .. line[1], ARGV[2], '+inf', 'LIMIT', ARGV[4], ARGV[5])
local made = 0
for _, padded in ipairs(mids) do
  local mid = string.format('%.0f', tonumber(padded))
  local f = call('HMGET', P .. 'm:' .. mid, 'c', 'b')
  if f[1] and tonumber(mid) <= tonumber(ARGV[3]) then
    call('HINCRBY', P .. 'm:' .. mid, 'ref', 1)
    deliver(L, mid, { c = f[1], b = f[2] }, ARGV[6], t, line[2] == '1', line[3], line[4], line[5], '{"replayed":true}')
    made = made + 1
  end
end
if made > 0 then wake(L) end
return { made, #mids }
`;

/** topic. Answers since when its messages are kept (or ''), the server's time, and the last number. */
export const REPLAY_BOUNDS = `
return { call('HGET', P .. 'kept', ARGV[1]) or '', now(), tonumber(call('GET', P .. 'ids') or 0) }
`;
