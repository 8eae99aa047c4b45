#!lua
-- Keep a snapshot of the weights under a name of its own, if there is room for it.
--
-- KEYS  1 lease  2 kept  3 kept_weights
-- ARGV  1 epoch  2 id  3 description  4 snapshot  5 most that are kept
-- Answers 1, 0 if as many are kept already, or EPOCH; for the last two nothing was written.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  return 0
end

redis.call('HSET', KEYS[3], ARGV[2], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
