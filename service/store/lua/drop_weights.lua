#!lua flags=allow-oom
-- Remove a snapshot that was kept.
--
-- KEYS  1 lease  2 kept  3 kept_weights
-- ARGV  1 epoch  2 id
-- Answers how many there were, or EPOCH; then nothing was removed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

redis.call('HDEL', KEYS[3], ARGV[2])
return redis.call('HDEL', KEYS[2], ARGV[2])
