/** Single jobs, what waits, and dead letters. */

/**
 * receipt. Answers id, kind, name and fields of a job, or what is on record of an ended one, or line and what
 * is told of one whose time is over.
 */
export const FIND = `
local id = jobOf(ARGV[1])
if id then
  local own = call('HMGET', P .. 'j:' .. id, 'l', 's', 'e')
  if own[3] and (own[2] == 'r' or own[2] == 'd') and tonumber(own[3]) <= now() then
    local told = {}
    expire(own[1], id, now(), isSerial(own[1]), told)
    return { 0, own[1], told[1] }
  end
  local j = call('HMGET', P .. 'j:' .. id, 'l', 's', 'r', 'k', 'a', 'er', 'c', 'due', 'st', 'fa', 'error', 'code', 'own_by', 'ln')
  if j[1] then
    local line = call('HMGET', P .. 'l:' .. j[1], 'kind', 'name')
    if j[2] == 'd' and tonumber(j[8]) <= now() then j[2] = 'r' end
    return { id, line[1] or 'queue', line[2] or '', j }
  end
end
for _, L in ipairs(call('SMEMBERS', P .. 'lines')) do
  local kept = call('HGET', P .. 'p:' .. L, ARGV[1])
  if kept then return { 0, call('HGET', P .. 'l:' .. L, 'kind'), call('HGET', P .. 'l:' .. L, 'name'), kept } end
end
return false
`;

/** receipt. Answers 'running', 'dead', 'cancelled' with what is told of the job, or false. */
export const CANCEL = `
local id = jobOf(ARGV[1])
if not id then return false end
local j = call('HMGET', P .. 'j:' .. id, 'l', 's')
if not j[1] then return false end
if j[2] == 'l' then return { 'running' } end
if j[2] == 'x' then return { 'dead' } end
local serial = isSerial(j[1])
local lane = pull(j[1], id, serial)
local row = endJob(j[1], id, now(), 'cancelled')
refresh(j[1], lane, serial)
wake(j[1])
return { 'cancelled', j[1], row }
`;

/** line, 'waiting' | 'delayed' | 'dead' | 'oldest', how many, state that they end in. Answers what is told of each. */
export const PURGE = `
local L, what, limit, t = ARGV[1], ARGV[2], tonumber(ARGV[3]), now()
local serial = isSerial(L)
tidy(L, t, serial)
local rows = {}
if what == 'dead' then
  for _, id in ipairs(call('ZRANGE', P .. 'z:' .. L, 0, limit - 1)) do
    call('ZREM', P .. 'z:' .. L, id)
    rows[#rows + 1] = endJob(L, id, t, ARGV[4])
  end
elseif what == 'delayed' then
  for _, m in ipairs(call('ZRANGE', P .. 'd:' .. L, 0, limit - 1)) do
    local id = m:sub(2)
    if m:sub(1, 1) == 'n' then id = call('HGET', P .. 'n:' .. L .. ':' .. id, 'wait') end
    call('ZREM', P .. 'd:' .. L, m)
    if id and call('EXISTS', P .. 'j:' .. id) == 1 then
      local lane = pull(L, id, serial)
      rows[#rows + 1] = endJob(L, id, t, ARGV[4])
      refresh(L, lane, serial)
    end
  end
else
  for _, lane in ipairs(call('SMEMBERS', P .. 'a:' .. L)) do
    local wait = call('HGET', P .. 'n:' .. L .. ':' .. lane, 'wait')
    for _, id in ipairs(call('ZRANGE', P .. 'q:' .. L .. ':' .. lane, 0, limit - #rows)) do
      if id ~= wait and #rows < limit then
        call('ZREM', P .. 'q:' .. L .. ':' .. lane, id)
        rows[#rows + 1] = endJob(L, id, t, ARGV[4])
      end
    end
    refresh(L, lane, serial)
    if #rows >= limit then break end
  end
end
if #rows > 0 then wake(L) end
return rows
`;

/** line, how many. Answers fields of the jobs that run next, in order: receipt, function, data, attempts, created, place. */
export const PEEK = `
local L, limit, t = ARGV[1], tonumber(ARGV[2]), now()
tidy(L, t, isSerial(L))
local found = {}
for _, fn in ipairs(call('HKEYS', P .. 'f:' .. L)) do
  for _, lane in ipairs(call('ZRANGE', P .. 'r:' .. L .. ':' .. fn, 0, limit - 1)) do
    local jobs = call('ZRANGE', P .. 'q:' .. L .. ':' .. lane, 0, limit - 1, 'WITHSCORES')
    for i = 1, #jobs, 2 do found[#found + 1] = { jobs[i], tonumber(jobs[i + 1]) } end
  end
end
table.sort(found, function(a, b) return a[2] < b[2] end)
local rows = {}
for i = 1, math.min(limit, #found) do
  local j = call('HMGET', P .. 'j:' .. found[i][1], 'r', 'k', 'd', 'mid', 'a', 'c', 'x', 'g')
  if not j[3] and j[4] then j[3] = call('HGET', P .. 'm:' .. j[4], 'd') end
  rows[i] = { found[i][1], j }
end
return rows
`;

/** line, from, to. Ids of dead letters, newest first, each with its number; then how many there are. */
export const DEAD_IDS = `
return { call('ZREVRANGE', P .. 'z:' .. ARGV[1], ARGV[2], ARGV[3], 'WITHSCORES'), call('ZCARD', P .. 'z:' .. ARGV[1]) }
`;

/** Ids. What filters look at: function, code, error, time. */
export const DEAD_HEADS = `
local rows = {}
for i = 1, #ARGV do rows[i] = call('HMGET', P .. 'j:' .. ARGV[i], 'k', 'code', 'error', 'fa') end
return rows
`;

/** most bytes, ids. Dead letters whole, until they are larger than that together. */
export const DEAD_LETTERS = `
local rows, bytes = {}, 0
for i = 2, #ARGV do
  local j = call('HMGET', P .. 'j:' .. ARGV[i], 's', 'ji', 'r', 'k', 'd', 'a', 'er', 'error', 'code', 'fa', 'mid')
  if not j[5] and j[11] then j[5] = call('HGET', P .. 'm:' .. j[11], 'd') end
  rows[i - 1] = j
  bytes = bytes + #(j[5] or '') + #(j[7] or '')
  if bytes > tonumber(ARGV[1]) then break end
end
return rows
`;

const MOVE = `
-- Back behind what waits.
local function move(L, id, t, restamp, attempts, backoff)
  local jk = P .. 'j:' .. id
  local j = call('HMGET', jk, 'k', 'g', 'rk', 'b', 'pl', 'x')
  local line = call('HMGET', P .. 'l:' .. L, 'kind', 'ser')
  local serial = line[2] == '1'
  local group = j[2] or nil
  if not group and serial and line[1] == 'queue' then group = '' end
  local lane = laneOf(group, j[1], j[3] or nil)
  local pl = math.floor(tonumber(j[5]) / STEP) * STEP + tonumber(newId())
  call('ZREM', P .. 'z:' .. L, id)
  call('HSET', jk, 'a', '0', 'lo', '0', 'n', lane, 'pl', string.format('%.0f', pl))
  if group then call('HSET', jk, 'g', group) end
  call('HINCRBY', jk, 'rv', 1)
  call('HDEL', jk, 'error', 'code', 'fa', 'er', 'st', 'due')
  if restamp then
    call('HSET', jk, 'ma', attempts, 'bo', backoff)
    call('HDEL', jk, 'bl')
  end
  counted(L, j[1], tonumber(j[4]), 1)
  place(L, id, lane, pl, 0, t, serial)
end
`;

/** line, how many, then attempts and backoff where they are stamped anew. Oldest first; answers how many. */
export const REDRIVE = `${MOVE}
local L, t = ARGV[1], now()
local ids = call('ZRANGE', P .. 'z:' .. L, 0, tonumber(ARGV[2]) - 1)
for _, id in ipairs(ids) do move(L, id, t, ARGV[3] ~= nil, ARGV[3], ARGV[4]) end
if #ids > 0 then wake(L) end
return #ids
`;

/** Which dead letter an id means, if it is of one of the lines: id, then how many lines, lines. */
const FIND_DEAD = `
local id = jobOf(ARGV[1])
local L = id and call('HGET', P .. 'j:' .. id, 'l')
if not L or call('HGET', P .. 'j:' .. id, 's') ~= 'x' then return 0 end
local ours = false
local count = tonumber(ARGV[2])
for i = 3, 2 + count do if ARGV[i] == L then ours = true end end
if not ours then return 0 end
local t = now()
`;

/** job id or receipt, how many lines, lines, then attempts and backoff where they are stamped anew. */
export const REDRIVE_ONE = `${MOVE}${FIND_DEAD}
move(L, id, t, ARGV[3 + count] ~= nil, ARGV[3 + count], ARGV[4 + count])
wake(L)
return 1
`;

/** job id or receipt, how many lines, lines. */
export const DISCARD = `${FIND_DEAD}
call('ZREM', P .. 'z:' .. L, id)
return { L, endJob(L, id, t, 'discarded') }
`;

/** job id or receipt, how many lines, lines, data (as '=' .. text) and its size, function id. */
export const EDIT = `${FIND_DEAD}
local jk = P .. 'j:' .. id
local data = optional(ARGV[3 + count])
if data then
  local mid = call('HGET', jk, 'mid')
  if mid then
    call('HSET', jk, 'tp', call('HGET', P .. 'm:' .. mid, 'tp'), 'bg', call('HGET', P .. 'm:' .. mid, 'bg'))
    call('HDEL', jk, 'mid')
    letGo(mid)
  end
  call('HSET', jk, 'd', data, 'b', ARGV[4 + count])
end
local fn = optional(ARGV[5 + count])
if fn then
  local namespace = call('HGET', jk, 'k'):match('^(.-)%z')
  call('HSET', jk, 'k', namespace .. '\\0' .. fn)
end
return 1
`;
