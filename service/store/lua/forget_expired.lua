#!lua flags=allow-oom
-- Drop the names of streams that have expired.
--
-- KEYS  1 streams  2... the hash of each stream
-- ARGV  1... the name of each stream
-- Answers how many were dropped. It needs no epoch: a name without a stream is wrong whoever owns the partition.

local dropped = 0
for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    dropped = dropped + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return dropped
