#!lua
-- Go on with other weights than those that the redo records lead to. Nothing of what was before is left to fall back to:
-- the snapshot takes both places, and the redo records go.
--
-- KEYS  1 lease  2 weights  3 redo  4 snapshot  5 previous
-- ARGV  1 epoch  2 version of the snapshot, above all that were before  3 snapshot
-- Answers OK, or what stood against it: EPOCH or VERSION; then nothing was written.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local version = tonumber(ARGV[2])
for _, field in ipairs({'last', 'version'}) do
  if version <= (tonumber(redis.call('HGET', KEYS[2], field) or 0) or 0) then -- what is no number was none
    return 'VERSION'
  end
end

redis.call('SET', KEYS[4], ARGV[3])
redis.call('SET', KEYS[5], ARGV[3])
redis.call('HSET', KEYS[2], 'version', ARGV[2], 'previous', ARGV[2], 'last', ARGV[2])
redis.call('UNLINK', KEYS[3]) -- with the id of its last record: the next may be any
return 'OK'
