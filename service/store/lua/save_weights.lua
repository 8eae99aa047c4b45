#!lua flags=allow-oom
-- Replace the snapshot of the weights and drop the redo records it makes needless.
--
-- KEYS  1 lease  2 weights  3 redo
-- ARGV  1 epoch  2 version of the snapshot  3 snapshot
-- Answers OK, or what stood against it: EPOCH or VERSION; then nothing was written.
--
-- A full store takes it: it frees more than it adds.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local version = tonumber(ARGV[2])
if version < tonumber(redis.call('HGET', KEYS[2], 'version') or 0) then
  return 'VERSION'
end

if version > tonumber(redis.call('HGET', KEYS[2], 'last') or 0) then
  redis.call('HSET', KEYS[2], 'last', ARGV[2])
end
redis.call('HSET', KEYS[2], 'version', ARGV[2], 'snapshot', ARGV[3])
redis.call('XTRIM', KEYS[3], 'MINID', '=', string.format('%.0f-0', version + 1))
return 'OK'
