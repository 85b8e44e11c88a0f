/**
 * Where everything lies in Redis, and the moves that the scripts share. All keys begin with
 * `{prefix}:`, so they are one slot of a cluster and one script can move between any of them.
 *
 *   ids                 numbers for jobs, messages, places and dead letters
 *   lines               ids of lines: a hash of what they are, so that every engine knows them without asking
 *   l:LINE              hash: kind name ns fn, set (settings), ser (serial), pau, off, end, exp; rm rp (rate), km kp (rate
 *                       per key), gc (global concurrency), kem kec (ended jobs on record), kd (dead letters);
 *                       n (jobs that have not ended), b (their payload), turn, fv (version of f:), w (an engine waits)
 *   f:LINE              hash: function -> its jobs that have not ended
 *   a:LINE              set of its lanes
 *   n:LINE:LANE         hash of a lane: run (leased), wait (its head is delayed), blk (its rate is used up), rf (see r:)
 *   q:LINE:LANE         ready jobs, by place
 *   r:LINE:FUNCTION     the ready list of a function: lanes whose head is its job, by turn
 *   d:LINE              by due time: `j` + job, or `n` + lane of a serial line whose head is delayed
 *   k:LINE              lanes whose rate is used up, by the time when it is not
 *   s:LINE, s:LINE:KEY  times of the last starts, for rates
 *   x:LINE              leased jobs, by the end of the lease
 *   e:LINE              jobs that expire, by when
 *   z:LINE              dead letters, in their order
 *   c:LINE              consumers of a subscription: engine -> when it counts as gone
 *   u:LINE:KEY          unique key -> `until:receipt`, until 0 = until the job has ended
 *   o:LINE, p:LINE      ended jobs on record: receipts by time, and what is known of them
 *   j:ID                hash of a job: l (line) n (lane) s (state) r (receipt) k (function) g (group) d (data) ...
 *   i:RECEIPT           the job of a receipt that a client chose
 *   m:ID                hash of a message: t (topic) d tp bg c, ref (jobs that need it), kp (kept for a replay)
 *   t:TOPIC             lines that subscribe
 *   h:TOPIC, held, heldb  messages that wait for a first subscriber; their count and size by topic
 *   y:TOPIC, kept       messages that stay for a replay, by time; since when by topic
 *   wake                channel: a line's id, when something can run and an engine waits for it
 *
 * A lane is jobs that stand behind each other: those of one function (and rate key) in a standard
 * queue, of one group in a fifo queue. A place is priority and order of acceptance in one number.
 *
 * A job (field s), each arrow one script:
 *
 *   (accept) -> r | d
 *   d -> r             when due, by whichever engine looks at the line next
 *   r -> l             fetched: leased until the server's time says otherwise, ln counts its leases
 *   l -> r | d | x | (gone)   settled with engine and ln of the lease; others are ignored
 *   l -> r             the lease ended without an answer; nothing is charged
 *   r, d -> (gone)     cancelled, expired, purged, done by a late answer
 *   x -> r             redriven: a new place, the same id
 *   x -> (gone)        discarded, purged, retention
 */

/** The server's clock, whole milliseconds. */
export const SERVER_TIME = `local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)`;

/** What the end of a job needs to know of it, in the order in which `endJob` reads it. */
export const END_FIELDS = ['r', 'k', 'b', 'u', 'own', 'mid', 'e', 'a', 'er', 'c', 's']
  .map((name) => `'${name}'`)
  .join(', ');

/** @param time - body of the function that tells the time */
export function library(time: string): string {
  return `
local P = KEYS[1]
local call = redis.call
local STEP = 17592186044416 -- 2^44: places of one priority
local function now()
  ${time}
end
local function some(text) if text and text ~= '' then return text end end
-- '' = absent, '=' .. text = text, which may be empty
local function optional(text) if text and text ~= '' then return text:sub(2) end end

local function laneOf(group, fn, rateKey)
  local lane
  if group then lane = 'g' .. group else lane = 'f' .. fn .. '\\0' .. (rateKey or '') end
  if #lane > 200 then lane = lane:sub(1, 1) .. '#' .. redis.sha1hex(lane) end
  return lane
end

local function wake(L)
  if call('HGET', P .. 'l:' .. L, 'w') == '1' then
    call('HSET', P .. 'l:' .. L, 'w', '0')
    call('PUBLISH', P .. 'wake', L)
  end
end

-- Puts a lane where it belongs: into the ready list of its head's function, or out of it.
-- 'moved' = its turn was taken: it goes to the end of those of its priority.
local function refresh(L, lane, serial, moved)
  local nk = P .. 'n:' .. L .. ':' .. lane
  local qk = P .. 'q:' .. L .. ':' .. lane
  local s = call('HMGET', nk, 'run', 'wait', 'blk', 'rf')
  local rf = s[4]
  local head = call('ZRANGE', qk, 0, 0, 'WITHSCORES')
  local idle = head[1] and not s[3] and not (serial and (s[2] or tonumber(s[1] or 0) > 0))
  if not idle then
    if rf then
      call('ZREM', P .. 'r:' .. L .. ':' .. rf, lane)
      call('HDEL', nk, 'rf')
    end
    if not head[1] and not s[2] and not s[3] and tonumber(s[1] or 0) <= 0 then
      call('DEL', nk)
      call('SREM', P .. 'a:' .. L, lane)
    elseif not (s[1] or s[2] or s[3] or rf) then
      call('SADD', P .. 'a:' .. L, lane)
    end
    return false
  end
  if not (s[1] or s[2] or s[3] or rf) then call('SADD', P .. 'a:' .. L, lane) end
  local fn = call('HGET', P .. 'j:' .. head[1], 'k')
  if rf ~= fn then
    if rf then call('ZREM', P .. 'r:' .. L .. ':' .. rf, lane) end
    call('HSET', nk, 'rf', fn)
  end
  local turn = call('HINCRBY', P .. 'l:' .. L, 'turn', 1)
  local score = math.floor(head[2] / STEP) * STEP + turn
  if moved or rf ~= fn then
    call('ZADD', P .. 'r:' .. L .. ':' .. fn, score, lane)
  else
    call('ZADD', P .. 'r:' .. L .. ':' .. fn, 'LT', score, lane)
  end
  return true
end

local function counted(L, fn, size, by)
  call('HINCRBY', P .. 'l:' .. L, 'n', by)
  call('HINCRBY', P .. 'l:' .. L, 'b', by * size)
  local left = call('HINCRBY', P .. 'f:' .. L, fn, by)
  if left <= 0 then
    call('HDEL', P .. 'f:' .. L, fn)
  elseif by > 0 and left == by then
    call('HINCRBY', P .. 'l:' .. L, 'fv', 1)
  end
end

-- A job more behind others, in a lane that stands in its list: nothing else changes.
local function joins(L, lane, score, serial)
  return not serial and tonumber(score) >= 255 * STEP and call('HGET', P .. 'n:' .. L .. ':' .. lane, 'rf')
end

-- Into a lane, now or when due. 'fresh' = it says already that it is ready.
local function place(L, id, lane, score, due, t, serial, fresh)
  local jk = P .. 'j:' .. id
  if due > t then
    call('HSET', jk, 's', 'd', 'due', due)
    if serial then
      call('ZADD', P .. 'q:' .. L .. ':' .. lane, score, id)
      if call('HSETNX', P .. 'n:' .. L .. ':' .. lane, 'wait', id) == 1 then
        call('SADD', P .. 'a:' .. L, lane)
        call('ZADD', P .. 'd:' .. L, due, 'n' .. lane)
      else
        call('HSET', jk, 's', 'r')
      end
    else
      call('ZADD', P .. 'd:' .. L, due, 'j' .. id)
    end
  else
    if not fresh then call('HSET', jk, 's', 'r') end
    call('ZADD', P .. 'q:' .. L .. ':' .. lane, score, id)
    if joins(L, lane, score, serial) then return end
  end
  refresh(L, lane, serial)
end

-- A lane stops waiting for its head.
local function resume(L, lane)
  local nk = P .. 'n:' .. L .. ':' .. lane
  local id = call('HGET', nk, 'wait')
  call('HDEL', nk, 'wait')
  call('ZREM', P .. 'd:' .. L, 'n' .. lane)
  if id and call('HGET', P .. 'j:' .. id, 's') == 'd' then call('HSET', P .. 'j:' .. id, 's', 'r') end
end

-- One job less needs a message.
local function letGo(mid)
  if call('HINCRBY', P .. 'm:' .. mid, 'ref', -1) <= 0 and call('HGET', P .. 'm:' .. mid, 'kp') ~= '1' then
    call('DEL', P .. 'm:' .. mid)
  end
end

local function freeKey(L, key, receipt)
  local uk = P .. 'u:' .. L .. ':' .. key
  if call('GET', uk) == '0:' .. receipt then call('DEL', uk) end
end

local function onRecord(L, t, state, receipt, fn, attempts, errors, created, keep)
  keep = keep or call('HMGET', P .. 'l:' .. L, 'kem', 'kec')
  local ms, count = tonumber(keep[1] or 0), tonumber(keep[2] or 0)
  if ms <= 0 or count <= 0 then return end
  -- In the order in which they ended, also within a millisecond: the oldest are the first to go.
  local last = tonumber(call('ZREVRANGE', P .. 'o:' .. L, 0, 0, 'WITHSCORES')[2])
  local at = t
  if last and last >= t then at = last + 1 / 2048 end
  call('ZADD', P .. 'o:' .. L, string.format('%.4f', at), receipt)
  call('HSET', P .. 'p:' .. L, receipt, cjson.encode({ state, fn, tonumber(attempts), errors or '[]', tonumber(created), t }))
  local old = call('ZRANGEBYSCORE', P .. 'o:' .. L, '-inf', '(' .. string.format('%.0f', t - ms), 'LIMIT', 0, 10)
  local over = call('ZCARD', P .. 'o:' .. L) - count - #old
  if over > 0 then
    for _, each in ipairs(call('ZRANGE', P .. 'o:' .. L, #old, #old + math.min(over, 10) - 1)) do old[#old + 1] = each end
  end
  for _, each in ipairs(old) do
    call('ZREM', P .. 'o:' .. L, each)
    call('HDEL', P .. 'p:' .. L, each)
  end
end

-- Forgets a job that is in no list any more. Answers what is told of it. 'j', 'keep': what was read before.
local function endJob(L, id, t, state, j, keep)
  local jk = P .. 'j:' .. id
  j = j or call('HMGET', jk, ${END_FIELDS})
  if j[11] ~= 'x' then counted(L, j[2], tonumber(j[3]), -1) end
  if j[4] then freeKey(L, j[4], j[1]) end
  if j[5] and call('GET', P .. 'i:' .. j[1]) == id then call('DEL', P .. 'i:' .. j[1]) end
  if j[6] then letGo(j[6]) end
  if j[7] then call('ZREM', P .. 'e:' .. L, id) end
  call('DEL', jk)
  onRecord(L, t, state, j[1], j[2], j[8], j[9], j[10], keep)
  return { j[1], j[2], j[8], j[9] or '', j[10] }
end

-- Takes a job that waits or is delayed out of its lists.
local function pull(L, id, serial)
  local j = call('HMGET', P .. 'j:' .. id, 'n', 's')
  local lane = j[1]
  call('ZREM', P .. 'q:' .. L .. ':' .. lane, id)
  if j[2] == 'd' then call('ZREM', P .. 'd:' .. L, 'j' .. id) end
  if call('HGET', P .. 'n:' .. L .. ':' .. lane, 'wait') == id then resume(L, lane) end
  return lane
end

local function isSerial(L) return call('HGET', P .. 'l:' .. L, 'ser') == '1' end

-- A job that did not start in time. What is told of it goes to 'told', if anybody listens.
local function expire(L, id, t, serial, told)
  local lane = pull(L, id, serial)
  local row = endJob(L, id, t, 'expired')
  refresh(L, lane, serial)
  if told then told[#told + 1] = row end
end

-- What time has brought: leases that ended, delays that are over, jobs that expired.
local function tidy(L, t, serial, told)
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'x:' .. L, '-inf', t, 'LIMIT', 0, 200)) do
    local jk = P .. 'j:' .. id
    local j = call('HMGET', jk, 'n', 'pl')
    call('ZREM', P .. 'x:' .. L, id)
    if j[1] then
      call('HINCRBY', P .. 'n:' .. L .. ':' .. j[1], 'run', -1)
      call('HSET', jk, 'rd', '1')
      place(L, id, j[1], j[2], 0, t, serial)
    end
  end
  for _, m in ipairs(call('ZRANGEBYSCORE', P .. 'd:' .. L, '-inf', t, 'LIMIT', 0, 500)) do
    local what = m:sub(2)
    if m:sub(1, 1) == 'n' then
      resume(L, what)
      refresh(L, what, serial)
    else
      call('ZREM', P .. 'd:' .. L, m)
      local j = call('HMGET', P .. 'j:' .. what, 'n', 'pl')
      if j[1] then place(L, what, j[1], j[2], 0, t, serial) end
    end
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'e:' .. L, '-inf', t, 'LIMIT', 0, 200)) do
    call('ZREM', P .. 'e:' .. L, id)
    local s = call('HGET', P .. 'j:' .. id, 's')
    if s == 'r' or s == 'd' then expire(L, id, t, serial, told) end
  end
end

-- The number that a receipt of ours ends with, or the job of one that a client chose.
local function jobOf(receipt)
  local tail = receipt:match('^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-(%x%x%x%x%x%x%x%x%x%x%x%x)$')
  if tail then
    local id = string.format('%.0f', tonumber(tail, 16))
    local j = call('HMGET', P .. 'j:' .. id, 'r', 'ji')
    if j[1] == receipt or j[2] == receipt then return id end
  end
  return call('GET', P .. 'i:' .. receipt) or nil
end

-- Numbers begin at the time of the first: a server that lost its data does not give them out again.
local function newId()
  local id = call('INCR', P .. 'ids')
  if id < 1000000000000 then
    id = now()
    call('SET', P .. 'ids', string.format('%.0f', id))
  end
  return string.format('%.0f', id)
end
local function receiptFor(head, id)
  return head .. string.format('%012x', tonumber(id))
end
`;
}
