#!lua
-- Write one micro-batch: beliefs, replies and redo record, all of them or none.
--
-- KEYS  1 lease  2 weights  3 redo  4 streams  5... the hash of each changed stream
-- ARGV  1 epoch
--       2 weights version after the batch
--       3 number of redo records: 1, or 0 when no weight changed
--       4 redo record, empty when there is none
--       5 milliseconds after which an idle stream expires, 0 for never
--       6... five for each stream: name, sequence, belief, field of its reply, reply
-- Answers OK, or what stood against it: EPOCH, VERSION, SEQUENCE, or an error where an argument is malformed; then
-- nothing was written.
--
-- A script that fails is not rolled back, so everything is checked before the first write. A store that is full or
-- read-only refuses the script before it begins (that is what '#!lua' without allow-oom asks for).

local N_KEYS, N_ARGS, PER_STREAM = 4, 5, 5

local n_streams = #KEYS - N_KEYS
if #ARGV ~= N_ARGS + n_streams * PER_STREAM then
  return redis.error_reply('ERR each stream takes five arguments')
end
if not (is_whole(ARGV[2]) and (ARGV[3] == '0' or ARGV[3] == '1')) then
  return redis.error_reply('ERR version or number of redo records')
end
if not is_ttl(ARGV[5]) then
  return redis.error_reply('ERR milliseconds to expiry')
end
for i = 1, n_streams do
  if not is_whole(ARGV[N_ARGS + (i - 1) * PER_STREAM + 2]) then
    return redis.error_reply('ERR sequence')
  end
end

local redo_id = ARGV[2] .. '-0'

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local last = tonumber(redis.call('HGET', KEYS[2], 'last') or 0)
if tonumber(ARGV[2]) ~= last + tonumber(ARGV[3]) then
  return 'VERSION'
end

local is_new = {}
for i = 1, n_streams do
  local stored = redis.call('HGET', KEYS[N_KEYS + i], 'seq')
  -- A stream that expired since it was read is written anew, whatever its sequence: the belief is whole.
  if stored and tonumber(stored) + 1 ~= tonumber(ARGV[N_ARGS + (i - 1) * PER_STREAM + 2]) then
    return 'SEQUENCE'
  end
  is_new[i] = not stored
end

if ARGV[3] == '1' then
  -- First, as the one write that can fail: on an id that is not above the last.
  redis.call('XADD', KEYS[3], redo_id, 'record', ARGV[4])
  redis.call('HSET', KEYS[2], 'last', ARGV[2])
end

local now_us = clock_us()

for i = 1, n_streams do
  local key, at = KEYS[N_KEYS + i], N_ARGS + (i - 1) * PER_STREAM
  redis.call('HSET', key, 'belief', ARGV[at + 3], 'seq', ARGV[at + 2], 'updated', now_us, ARGV[at + 4], ARGV[at + 5])
  if is_new[i] then
    redis.call('HSET', key, 'created', now_us)
    redis.call('ZADD', KEYS[4], 0, ARGV[at + 1])
  end
  expire(key, ARGV[5])
end

return 'OK'
