#!lua
-- Keep a snapshot of a stream among the fields of its hash.
--
-- KEYS  1 lease  2 the hash of the stream
-- ARGV  1 epoch  2 sequence that the snapshot was taken at  3 most snapshots of a stream  4 snapshot
-- Answers the snapshot's number, from 1 and never given twice while the stream lives; 0 if there is no such stream; -1
-- if it has as many as it may; EPOCH or SEQUENCE. But for the first nothing was written.

local PREFIX = 'snapshot:'

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
local stored = redis.call('HGET', KEYS[2], 'seq')
if not stored then
  return 0
end
if stored ~= ARGV[2] then
  return 'SEQUENCE'
end
local kept = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.sub(field, 1, #PREFIX) == PREFIX then
    kept = kept + 1
  end
end
if kept >= tonumber(ARGV[3]) then
  return -1
end

local number = redis.call('HINCRBY', KEYS[2], 'snapshots', 1)
redis.call('HSET', KEYS[2], PREFIX .. string.format('%.0f', number), ARGV[4])
return number
