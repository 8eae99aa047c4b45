#!lua
-- Write one group of micro-batches: beliefs, replies and redo records, all of them or none.
--
-- KEYS  1 lease  2 weights  3 redo  4 streams  5... the hash of each changed stream
-- ARGV  1 epoch
--       2 weights version after the group
--       3 number of redo records (n): how many of the micro-batches changed the weights
--       4 milliseconds after which an idle stream expires, 0 for never
--       5... the redo records, of the versions up to that of the group
--       then for each stream: name, sequence before, sequence after, when the belief that it was computed from was
--       committed (microseconds since 1970; empty: it was read a moment ago), belief, number of items that are kept,
--       and what is kept of each: field, place, value
-- Answers when it was done (microseconds since 1970), 0 if a stream is not, or no longer, as it was committed at the
-- time that is given, or what else stood against it: EPOCH, VERSION, SEQUENCE, or an error where an argument is
-- malformed; but for the first nothing was written.
--
-- A script that fails is not rolled back, so everything is checked before the first write. A store that is full or
-- read-only refuses the script before it begins (that is what '#!lua' without allow-oom asks for).

local N_KEYS, N_ARGS, PER_STREAM = 4, 4, 6

local n_streams, n_redo = #KEYS - N_KEYS, tonumber(ARGV[3])
if not (is_whole(ARGV[2]) and is_whole(ARGV[3]) and #ARGV >= N_ARGS + n_redo) then
  return redis.error_reply('ERR version or number of redo records')
end
if not is_ttl(ARGV[4]) then
  return redis.error_reply('ERR milliseconds to expiry')
end
local at, starts = N_ARGS + n_redo + 1, {}
for i = 1, n_streams do
  starts[i] = at
  if not (is_whole(ARGV[at + 1]) and is_whole(ARGV[at + 2]) and is_whole(ARGV[at + 5])) then
    return redis.error_reply('ERR sequence, or number of items that are kept')
  end
  local n_kept = tonumber(ARGV[at + 5])
  if n_kept < 1 then
    return redis.error_reply('ERR nothing is kept of a stream')
  end
  for first = at + PER_STREAM, at + PER_STREAM + (n_kept - 1) * PER_KEPT, PER_KEPT do
    if not is_whole(ARGV[first + 1]) then
      return redis.error_reply('ERR place of what is kept')
    end
  end
  at = at + PER_STREAM + n_kept * PER_KEPT
end
if at ~= #ARGV + 1 then
  return redis.error_reply('ERR each stream takes six arguments, and three for each item that is kept')
end

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local first = tonumber(redis.call('HGET', KEYS[2], 'last') or 0) + 1
if tonumber(ARGV[2]) ~= first - 1 + n_redo then
  return 'VERSION'
end

local is_new = {}
for i = 1, n_streams do
  local before, committed_us = ARGV[starts[i] + 1], ARGV[starts[i] + 3]
  local stored = redis.call('HMGET', KEYS[N_KEYS + i], 'seq', 'updated')
  if committed_us ~= '' then
    if stored[1] ~= before or stored[2] ~= committed_us then
      return 0
    end
  -- A stream that expired since it was read is written anew, whatever its sequence: the belief is whole.
  elseif stored[1] and tonumber(stored[1]) ~= tonumber(before) then
    return 'SEQUENCE'
  end
  is_new[i] = not stored[1]
end

for i = 1, n_redo do
  -- First, as the one write that can fail: on an id that is not above the last.
  redis.call('XADD', KEYS[3], string.format('%.0f-0', first + i - 1), 'record', ARGV[N_ARGS + i])
end
if n_redo > 0 then
  redis.call('HSET', KEYS[2], 'last', ARGV[2])
end

local now_us = clock_us()

for i = 1, n_streams do
  local key, start = KEYS[N_KEYS + i], starts[i]
  local field, part = keep(key, start + PER_STREAM, tonumber(ARGV[start + 5]))
  redis.call('HSET', key, 'belief', ARGV[start + 4], 'seq', ARGV[start + 2], 'updated', now_us, field, part)
  if is_new[i] then
    redis.call('HSET', key, 'created', now_us)
    redis.call('ZADD', KEYS[4], 0, ARGV[start])
  end
  expire(key, ARGV[4])
end

return tonumber(now_us)
