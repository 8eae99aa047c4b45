-- Write down the numbers of entries.
-- KEYS  1 lease, 2 numbers
-- ARGV  1 token, 2 lease_ms, then for each entry its id and its number
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST another consumer has taken over')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return #ARGV
