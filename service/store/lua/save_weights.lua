#!lua flags=allow-oom
-- Make a snapshot of the weights the current one, the one it follows the previous one, and drop the redo records that
-- even the previous one does not need.
--
-- KEYS  1 lease  2 weights  3 redo  4 snapshot  5 previous
-- ARGV  1 epoch  2 version of the snapshot  3 snapshot
--       4 1 to replace the current snapshot alone, as it cannot be read; else 0
-- Answers OK, or what stood against it: EPOCH or VERSION; then nothing was written.
--
-- A full store takes it: but for the first two of a model, it frees more than it adds.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end

local version = tonumber(ARGV[2])
local current = tonumber(redis.call('HGET', KEYS[2], 'version') or 0) or 0 -- what is no number was none
if version < current or version > (tonumber(redis.call('HGET', KEYS[2], 'last') or 0) or 0) then
  return 'VERSION'
end

if ARGV[4] == '0' and version > current and redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('RENAME', KEYS[4], KEYS[5])
  redis.call('HSET', KEYS[2], 'previous', string.format('%.0f', current))
  redis.call('XTRIM', KEYS[3], 'MINID', '=', string.format('%.0f-0', current + 1))
end
redis.call('SET', KEYS[4], ARGV[3])
redis.call('HSET', KEYS[2], 'version', ARGV[2])
return 'OK'
