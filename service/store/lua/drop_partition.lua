#!lua flags=allow-oom
-- Remove what is left of a partition once its streams are gone, the lease included.
--
-- KEYS  1 lease  2... all other keys
-- ARGV  1 epoch
-- Answers OK, or EPOCH; then nothing was removed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

redis.call('UNLINK', unpack(KEYS))
return 'OK'
