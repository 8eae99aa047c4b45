-- Hold the lease for longer. Answers 1, or 0 if it is another's.
-- KEYS  1 lease
-- ARGV  1 token, 2 lease_ms
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
