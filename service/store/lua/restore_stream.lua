#!lua
-- Take a stream back to a snapshot, and forget the replies to what came after it.
--
-- KEYS  1 lease  2 the hash of the stream
-- ARGV  1 epoch
--       2 sequence that the stream goes back to
--       3 belief
--       4 milliseconds after which an idle stream expires, 0 for never
--       5... two for each part of its ring of replies: field, the part without what is later
-- Answers when it was done (microseconds since 1970), 0 if there is no such stream, EPOCH, or an error where an argument is
-- malformed; but for the first nothing was written.
--
-- A reply names its item by sequence. One that stayed would be given for a resend of the item that takes this sequence
-- from now on, so all later ones go, wherever they lie: rings of other sizes may have left some.

local N_ARGS = 4

if not is_whole(ARGV[2]) or #ARGV < N_ARGS or (#ARGV - N_ARGS) % 2 ~= 0 then
  return redis.error_reply('ERR sequence, or number of arguments')
end
if not is_ttl(ARGV[4]) then
  return redis.error_reply('ERR milliseconds to expiry')
end

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'EPOCH'
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  return 0
end

for i = N_ARGS + 1, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end

local now_us = clock_us()
redis.call('HSET', KEYS[2], 'belief', ARGV[3], 'seq', ARGV[2], 'updated', now_us)
expire(KEYS[2], ARGV[4])
return tonumber(now_us)
