-- What a stream keeps of its last items, as service/store/ring.py describes it: it stands at the head of what writes it.

local PER_KEPT = 3 -- arguments: field of its part, place within it, value with its length

local byte, sub = string.byte, string.sub

-- Where the value that begins here ends: the place of the next one. Beyond the part's end every value is empty.
local function next_value(part, at)
  local n, unit, read = 0, 1, nil
  repeat
    read = byte(part, at) or 0
    at = at + 1
    n = n + read % 128 * unit
    unit = unit * 128
  until read < 128
  return at + n
end

-- The part with a value in a place.
local function with_value(part, place, value)
  local at, stop = 1, #part + 1
  for _ = 1, place do
    local read = byte(part, at)
    local after = read and read < 128 and at + 1 + read or next_value(part, at)
    if after > stop and at < stop then -- damaged: nothing from here on can be found
      part, stop, after = sub(part, 1, at - 1), at, at + 1
    end
    at = after
  end
  if at >= stop then -- places before it that are not there are empty
    return part .. string.rep('\0', at - stop) .. value
  end
  return sub(part, 1, at - 1) .. value .. sub(part, next_value(part, at))
end

-- Put n values into the ring of the stream at key; their arguments begin at this one. A part is read and written once
-- for all values in a row that are of it. The last is answered, field and content, to be written with the rest.
local function keep(key, first, n)
  local field, part
  for i = first, first + (n - 1) * PER_KEPT, PER_KEPT do
    if ARGV[i] ~= field then
      if field then
        redis.call('HSET', key, field, part)
      end
      field = ARGV[i]
      part = redis.call('HGET', key, field) or ''
    end
    part = with_value(part, tonumber(ARGV[i + 1]), ARGV[i + 2])
  end
  return field, part
end

