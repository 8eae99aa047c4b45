-- Give out what came of entries, acknowledge them and forget their numbers. An entry that is acknowledged already is
-- not given out again, so that the same call twice does no harm.
-- KEYS  1 lease, 2 input, 3 numbers, 4 output, 5 dead letters
-- ARGV  1 token, 2 lease_ms, 3 group, 4 most entries of an output or '',
--       then for each entry: its id, the place of its output in KEYS, the number of texts that follow, and these:
--       field and value by turns
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST another consumer has taken over')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local i, published = 5, 0
while i <= #ARGV do
  local id, output, n = ARGV[i], KEYS[tonumber(ARGV[i + 1])], tonumber(ARGV[i + 2])
  if redis.call('XACK', KEYS[2], ARGV[3], id) == 1 then
    local texts = {unpack(ARGV, i + 3, i + 2 + n)}
    if ARGV[4] == '' then
      redis.call('XADD', output, '*', unpack(texts))
    else
      redis.call('XADD', output, 'MAXLEN', '~', ARGV[4], '*', unpack(texts))
    end
    published = published + 1
  end
  redis.call('HDEL', KEYS[3], id)
  i = i + 3 + n
end
return published
