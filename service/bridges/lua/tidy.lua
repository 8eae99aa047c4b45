-- Remove consumers of the group that have nothing pending and are not this one: each start of a bridge makes one.
-- KEYS  1 lease, 2 input
-- ARGV  1 token, 2 lease_ms, 3 group, 4 consumer
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST another consumer has taken over')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[3])) do
  local told = {}
  for i = 1, #consumer, 2 do
    told[consumer[i]] = consumer[i + 1]
  end
  if told['pending'] == 0 and told['name'] ~= ARGV[4] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[3], told['name'])
  end
end
return 0
