#!lua flags=allow-oom
-- Give the partition free.
--
-- KEYS  1 lease
-- ARGV  1 lease as its owner has it
-- Answers 1, or 0 where another owner has it; then nothing was written.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end

return redis.call('DEL', KEYS[1])
