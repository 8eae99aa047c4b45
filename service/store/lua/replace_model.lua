#!lua
-- Replace a model's record, if it is the one that the caller knows.
--
-- KEYS  1 models
-- ARGV  1 model  2 the record that the caller knows  3 the new one
-- Answers 1, or 0 where another record is there, or none; then nothing was written.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
