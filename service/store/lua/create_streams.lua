#!lua
-- Create streams that begin with a belief: all of them, or none.
--
-- KEYS  1 lease  2 streams  3... the hash of each stream
-- ARGV  1 epoch
--       2 milliseconds after which an idle stream expires, 0 for never
--       3... three for each stream: name, sequence, belief
-- Answers when they were created (microseconds since 1970), 0 if one of them exists, EPOCH, or an error where an
-- argument is malformed; but for the first nothing was written.
--
-- A script that fails is not rolled back, so everything is checked before the first write.

local N_KEYS, N_ARGS, PER_STREAM = 2, 2, 3

local n_streams = #KEYS - N_KEYS
if n_streams < 1 or #ARGV ~= N_ARGS + n_streams * PER_STREAM then
  return redis.error_reply('ERR each stream takes three arguments')
end
if not is_ttl(ARGV[2]) then
  return redis.error_reply('ERR milliseconds to expiry')
end
for i = 1, n_streams do
  if not is_whole(ARGV[N_ARGS + (i - 1) * PER_STREAM + 2]) then
    return redis.error_reply('ERR sequence')
  end
end

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
for i = 1, n_streams do
  if redis.call('EXISTS', KEYS[N_KEYS + i]) == 1 then
    return 0
  end
end

local now_us = clock_us()
for i = 1, n_streams do
  local key, at = KEYS[N_KEYS + i], N_ARGS + (i - 1) * PER_STREAM
  redis.call('HSET', key, 'belief', ARGV[at + 3], 'seq', ARGV[at + 2], 'created', now_us, 'updated', now_us)
  redis.call('ZADD', KEYS[2], 0, ARGV[at + 1])
  expire(key, ARGV[2])
end
return tonumber(now_us)
