#!lua flags=allow-oom
-- Take the partition: from now on every other owner's writes are refused.
--
-- KEYS  1 lease
-- ARGV  1 instance that takes it  2 lease of another instance that may be replaced: empty for none, * for any
-- Answers {1, the new lease}, or {0, the lease that stands against it}; then nothing was written.
--
-- A lease is EPOCH:INSTANCE. An instance may always take what it has: a write of its own that still is under way is
-- then refused. The epoch is taken from the clock, and is above the last one in any case, so that it stays unique even
-- when the store lost its data and with them the last epoch.

local current = redis.call('GET', KEYS[1])
local last, owner = string.match(current or '', '^(%d+):(.*)$')
if current and owner ~= ARGV[1] and ARGV[2] ~= '*' and ARGV[2] ~= current then
  return {0, current}
end

local now = redis.call('TIME')
local clock_us = tonumber(now[1]) * 1000000 + tonumber(now[2])
local epoch = math.max(clock_us, tonumber(last or 0) + 1)
local lease = string.format('%.0f:%s', epoch, ARGV[1])
redis.call('SET', KEYS[1], lease)
return {1, lease}
