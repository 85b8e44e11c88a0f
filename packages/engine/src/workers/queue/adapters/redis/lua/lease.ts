/** Fetching jobs under leases, renewing them, and what became of them. */
import { END_FIELDS } from './library.js';

/** Fields of a fetched job, in the order of the answer; its payload and context may lie with its message. */
export const JOB_FIELDS = [
  'r',
  'k',
  'g',
  'd',
  'm',
  'tp',
  'bg',
  'c',
  'ma',
  'bo',
  'x',
  'bl',
  'a',
  'lo',
  'rd',
  'er',
  'ji',
  'mid',
  'b',
  'e',
  'rk',
  'ln',
] as const;

/**
 * line, engine, version of its functions, how many, lease, most bytes, then the functions that are live
 * on this engine. Answers version, functions (if the version is another one), milliseconds until it may
 * have more (-1 = not by itself), paused, then id, lease number and the fields of each job.
 */
export const FETCH = `
local L, engine, t = ARGV[1], ARGV[2], now()
local lk = P .. 'l:' .. L
local line = call('HMGET', lk, 'kind', 'ser', 'pau', 'rm', 'rp', 'km', 'kp', 'gc')
if not line[1] then return redis.error_reply('NOLINE the line is not known') end
local serial = line[2] == '1'
local expired = {}
tidy(L, t, serial, expired)
local version = call('HGET', lk, 'fv') or '0'
local functions = {}
if version ~= ARGV[3] then functions = call('HKEYS', P .. 'f:' .. L) end
local jobs = {}
if version ~= ARGV[3] then return { version, functions, 0, 0, jobs, expired } end
if line[3] == '1' then
  call('HSET', lk, 'w', '1')
  return { version, functions, -1, 1, jobs, expired }
end
for _, lane in ipairs(call('ZRANGEBYSCORE', P .. 'k:' .. L, '-inf', t, 'LIMIT', 0, 500)) do
  call('ZREM', P .. 'k:' .. L, lane)
  call('HDEL', P .. 'n:' .. L .. ':' .. lane, 'blk')
  refresh(L, lane, serial)
end
-- Milliseconds until a window of starts has room; trims what has left it.
local function waitOf(key, max, per)
  local first = call('LINDEX', key, 0)
  while first and tonumber(first) + per <= t do
    call('LPOP', key)
    first = call('LINDEX', key, 0)
  end
  if call('LLEN', key) < max then return 0 end
  return tonumber(first) + per - t
end
local function started(key, per)
  call('RPUSH', key, string.format('%.0f', t))
  call('PEXPIRE', key, per + 60000)
end
local rateMax, ratePer = tonumber(line[4] or 0), tonumber(line[5] or 0)
local keyMax, keyPer = tonumber(line[6] or 0), tonumber(line[7] or 0)
local global = tonumber(line[8] or 0)
local next = -1
local function soon(ms) if next < 0 or ms < next then next = ms end end
local heads = {}
local function look(fn)
  local head = call('ZRANGE', P .. 'r:' .. L .. ':' .. fn, 0, 0, 'WITHSCORES')
  heads[fn] = head[1] and { head[1], tonumber(head[2]) } or nil
end
for i = 7, #ARGV do look(ARGV[i]) end
local bytes, maxBytes, lease = 0, tonumber(ARGV[6]), tonumber(ARGV[5])
local want, count = tonumber(ARGV[4]), 0
local stop = false
while not stop and count < want and bytes < maxBytes do
  local fn, best, several
  for each, head in pairs(heads) do
    if fn then several = true end
    if not best or head[2] < best[2] then fn, best = each, head end
  end
  if not fn then break end
  local lane = best[1]
  local nk, qk = P .. 'n:' .. L .. ':' .. lane, P .. 'q:' .. L .. ':' .. lane
  -- Where nobody else has a turn, many are taken in one.
  local alone = not serial and not several and call('ZCARD', P .. 'r:' .. L .. ':' .. fn) == 1
  local taken = {}
  for _, id in ipairs(call('ZRANGE', qk, 0, alone and want - count - 1 or 0)) do
    if rateMax > 0 then
      local ms = waitOf(P .. 's:' .. L, rateMax, ratePer)
      if ms > 0 then soon(ms); stop = true; break end
    end
    if global > 0 and call('ZCARD', P .. 'x:' .. L) >= global then stop = true; break end
    local jk = P .. 'j:' .. id
    local job = call('HMGET', jk, ${JOB_FIELDS.map((name) => `'${name}'`).join(', ')})
    local rateKey, free = job[21], job[20]
    local blocked = 0
    if keyMax > 0 and rateKey then blocked = waitOf(P .. 's:' .. L .. ':' .. rateKey, keyMax, keyPer) end
    if free and tonumber(free) <= t then
      expire(L, id, t, serial, expired)
    elseif blocked > 0 then
      call('HSET', nk, 'blk', '1')
      call('ZADD', P .. 'k:' .. L, t + blocked, lane)
      break
    else
      local ln = tonumber(job[22] or 0) + 1
      taken[#taken + 1] = id
      call('HSET', jk, 's', 'l', 'own_by', engine, 'st', string.format('%.0f', t), 'ln', ln)
      call('ZADD', P .. 'x:' .. L, t + lease, id)
      if rateMax > 0 then started(P .. 's:' .. L, ratePer) end
      if keyMax > 0 and rateKey then started(P .. 's:' .. L .. ':' .. rateKey, keyPer) end
      if job[18] then
        local m = call('HMGET', P .. 'm:' .. job[18], 'd', 'tp', 'bg')
        job[4] = job[4] or m[1]
        job[6] = some(m[2]) or false
        job[7] = some(m[3]) or false
      end
      bytes = bytes + #(job[4] or '')
      count = count + 1
      jobs[count] = { id, ln, job }
      if bytes >= maxBytes then break end
    end
  end
  if #taken > 0 then
    call('ZREM', qk, unpack(taken))
    call('HINCRBY', nk, 'run', #taken)
  end
  refresh(L, lane, serial, true)
  look(fn)
end
if count < want then
  call('HSET', lk, 'w', '1')
  for _, key in ipairs({ 'd:', 'k:', 'x:' }) do
    local first = call('ZRANGE', P .. key .. L, 0, 0, 'WITHSCORES')
    if first[1] then soon(math.max(0, tonumber(first[2]) - t)) end
  end
end
return { version, functions, next, 0, jobs, expired }
`;

/** Does the lease still hold? */
const HELD = `
local L, id, t = ARGV[1], ARGV[2], now()
local jk = P .. 'j:' .. id
local j = call('HMGET', jk, ${END_FIELDS}, 'own_by', 'ln', 'n', 'pl')
if j[11] ~= 'l' or j[12] ~= ARGV[3] or j[13] ~= ARGV[4] then return 0 end
local line = call('HMGET', P .. 'l:' .. L, 'ser', 'w', 'kem', 'kec')
local serial = line[1] == '1'
local lane = j[14]
local function leave()
  call('ZREM', P .. 'x:' .. L, id)
  call('HINCRBY', P .. 'n:' .. L .. ':' .. lane, 'run', -1)
end
-- The lane goes on: at once, unless it is a standard one that stands in its list anyway.
local function go()
  if serial or not call('HGET', P .. 'n:' .. L .. ':' .. lane, 'rf') then refresh(L, lane, serial) end
  if line[2] == '1' then wake(L) end
end
`;

/** line, job, engine, lease number. All answer 0 when the lease is another's. */
export const DONE = `${HELD}
leave()
endJob(L, id, t, 'done', j, { line[3], line[4] })
go()
return 1
`;

/**
 * line, job, engine, lease number, delay, 1 if it was given to nobody, then attempts, lost and failures
 * where something is charged.
 */
export const POSTPONE = `${HELD}
leave()
if ARGV[6] ~= '1' then call('HSET', jk, 'rd', '1') end
if ARGV[7] then
  call('HSET', jk, 'a', ARGV[7], 'lo', ARGV[8])
  if ARGV[9] ~= '' then call('HSET', jk, 'er', ARGV[9]) end
end
local delay = tonumber(ARGV[5])
place(L, id, lane, j[15], delay > 0 and t + delay or 0, t, serial)
wake(L)
return 1
`;

/** line, job, engine, lease number, attempts, failures, error, code, head of a job id. */
export const DEAD = `${HELD}
leave()
counted(L, j[2], tonumber(j[3]), -1)
if j[4] then freeKey(L, j[4], j[1]) end
call('ZREM', P .. 'e:' .. L, id)
call('HSET', jk, 's', 'x', 'a', ARGV[5], 'er', ARGV[6], 'error', ARGV[7], 'code', ARGV[8], 'fa', string.format('%.0f', t))
call('HDEL', jk, 'u', 'e')
if call('HEXISTS', jk, 'ji') == 0 then call('HSET', jk, 'ji', receiptFor(ARGV[9], id)) end
call('ZADD', P .. 'z:' .. L, newId(), id)
go()
return call('ZCARD', P .. 'z:' .. L)
`;

/**
 * engine, lease, time until a consumer counts as gone, how many lines, those lines, then line, job and lease
 * number of each lease. Answers the positions of leases that are another's.
 */
export const RENEW = `
local engine, lease, t = ARGV[1], tonumber(ARGV[2]), now()
local lines = tonumber(ARGV[4])
for i = 5, 4 + lines do
  if call('EXISTS', P .. 'l:' .. ARGV[i]) == 1 then
    call('HSET', P .. 'c:' .. ARGV[i], engine, string.format('%.0f', t + tonumber(ARGV[3])))
  end
end
local lost = {}
local at = 0
for i = 5 + lines, #ARGV, 3 do
  local j = call('HMGET', P .. 'j:' .. ARGV[i + 1], 's', 'own_by', 'ln')
  if j[1] == 'l' and j[2] == engine and j[3] == ARGV[i + 2] then
    call('ZADD', P .. 'x:' .. ARGV[i], t + lease, ARGV[i + 1])
  else
    lost[#lost + 1] = at
  end
  at = at + 1
end
return lost
`;

/** line, job, engine, lease number. A late answer ends a job that waits for its next run. */
export const FINISH_LATE = `
local L, id, t = ARGV[1], ARGV[2], now()
local j = call('HMGET', P .. 'j:' .. id, 's', 'own_by', 'ln')
if (j[1] ~= 'r' and j[1] ~= 'd') or j[2] ~= ARGV[3] or j[3] ~= ARGV[4] then return 0 end
local serial = isSerial(L)
local lane = pull(L, id, serial)
endJob(L, id, t, 'done')
refresh(L, lane, serial)
wake(L)
return 1
`;

/**
 * line, engine, then the jobs that it holds. What it leased without hearing of it (the answer of a fetch was
 * lost with the connection) goes back. Answers how many.
 */
export const RECLAIM = `
local L, t = ARGV[1], now()
local serial = isSerial(L)
local held = {}
for i = 3, #ARGV do held[ARGV[i]] = true end
local count = 0
for _, id in ipairs(call('ZRANGE', P .. 'x:' .. L, 0, -1)) do
  if not held[id] then
    local j = call('HMGET', P .. 'j:' .. id, 'own_by', 'n', 'pl')
    if j[1] == ARGV[2] then
      call('ZREM', P .. 'x:' .. L, id)
      call('HINCRBY', P .. 'n:' .. L .. ':' .. j[2], 'run', -1)
      place(L, id, j[2], j[3], 0, t, serial)
      count = count + 1
    end
  end
end
if count > 0 then wake(L) end
return count
`;
