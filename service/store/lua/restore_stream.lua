#!lua
-- Take a stream back to a snapshot, and forget the replies to what came after it.
--
-- KEYS  1 lease  2 the hash of the stream
-- ARGV  1 epoch
--       2 sequence that the stream goes back to
--       3 the same as eight bytes, the least significant first
--       4 belief
--       5 milliseconds after which an idle stream expires, 0 for never
-- Answers when it was done (microseconds since 1970), 0 if there is no such stream, EPOCH, or an error where an argument is
-- malformed; but for the first nothing was written.
--
-- A reply names its item by sequence. One that stayed would be given for a resend of the item that takes this sequence
-- from now on, so all later ones go, wherever they lie: rings of other sizes may have left some.

local SEQUENCE_BYTES = 8

if not is_whole(ARGV[2]) or #ARGV[3] ~= SEQUENCE_BYTES then
  return redis.error_reply('ERR sequence')
end
if not is_ttl(ARGV[5]) then
  return redis.error_reply('ERR milliseconds to expiry')
end

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  return 0
end

local function is_later(reply)
  for i = SEQUENCE_BYTES, 1, -1 do -- a number would not hold all 64 bits
    local ours, kept = string.byte(ARGV[3], i), string.byte(reply, i) or 255
    if ours ~= kept then
      return kept > ours
    end
  end
  return false
end

for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if string.match(field, '^r%d+$') and is_later(redis.call('HGET', KEYS[2], field)) then
    redis.call('HDEL', KEYS[2], field)
  end
end

local now_us = clock_us()
redis.call('HSET', KEYS[2], 'belief', ARGV[4], 'seq', ARGV[2], 'updated', now_us)
expire(KEYS[2], ARGV[5])
return tonumber(now_us)
