#!lua flags=allow-oom
-- Remove a snapshot of a stream.
--
-- KEYS  1 lease  2 the hash of the stream
-- ARGV  1 epoch  2 field of the snapshot
-- Answers how many there were, or EPOCH; then nothing was removed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
return redis.call('HDEL', KEYS[2], ARGV[2])
