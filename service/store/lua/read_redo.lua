#!lua flags=no-writes
-- Read redo records in their order, until they fill a number of bytes; one at least, where there is any.
--
-- KEYS  1 redo
-- ARGV  1 id of the first  2 bytes
-- Answers pairs of id and record.

local STEP = 16 -- a bound on what is read beyond the bytes

local found, n_bytes, from = {}, 0, ARGV[1]
while n_bytes < tonumber(ARGV[2]) do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', STEP)
  for _, entry in ipairs(entries) do
    local record = entry[2][2]
    found[#found + 1] = {entry[1], record}
    n_bytes = n_bytes + #record
  end
  if #entries < STEP then
    break
  end
  from = '(' .. entries[STEP][1]
end
return found
