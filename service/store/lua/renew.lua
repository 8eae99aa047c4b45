#!lua flags=allow-oom
-- Show that an instance lives; a full store takes it, as it replaces what is there.
--
-- KEYS  1 sign of life of the instance
-- ARGV  1 process  2 milliseconds that it lasts
-- Answers OK.

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'OK'
