#!lua flags=allow-oom
-- Take the partition: from now on every other owner's writes are refused.
--
-- KEYS  1 lease
-- Answers the new epoch. It is taken from the clock, and is above the last one in any case, so that it stays unique
-- even when the store lost its data and with them the last epoch.

local now = redis.call('TIME')
local clock_us = tonumber(now[1]) * 1000000 + tonumber(now[2])
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local epoch = string.format('%.0f', math.max(clock_us, last + 1))
redis.call('SET', KEYS[1], epoch)
return epoch
