#!lua flags=allow-oom
-- Remove streams and their names.
--
-- KEYS  1 lease  2 streams  3... the hash of each stream
-- ARGV  1 epoch  2... the name of each stream
-- Answers how many there were, or EPOCH; then nothing was removed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local removed = 0
for i = 3, #KEYS do
  removed = removed + redis.call('UNLINK', KEYS[i])
  redis.call('ZREM', KEYS[2], ARGV[i - 1])
end
return removed
