-- Read entries for the holder of the lease, and for nobody else: what another consumer read would be out of order.
-- KEYS  1 lease, 2 input
-- ARGV  1 token, 2 lease_ms, 3 group, 4 consumer, 5 count,
--       6 'pending' or 'new', 7 the id to go on from: of pending entries, or the last one that the group was given
-- Answers what XAUTOCLAIM or XREADGROUP answers.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('LEASELOST another consumer has taken over')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[6] == 'pending' then
  return redis.call('XAUTOCLAIM', KEYS[2], ARGV[3], ARGV[4], 0, ARGV[7], 'COUNT', ARGV[5])
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local told = {}
  for i = 1, #group, 2 do
    told[group[i]] = group[i + 1]
  end
  if told['name'] == ARGV[3] and told['last-delivered-id'] ~= ARGV[7] then
    return redis.error_reply('OUTOFSTEP the group was read, or moved, by something else')
  end
end
return redis.call('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'STREAMS', KEYS[2], '>')
