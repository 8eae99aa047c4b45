-- What the scripts that write streams share: it stands at the head of each.

local MAX_TTL_MS = 315360000000 -- ten years; PEXPIRE fails where the clock and this do not fit 64 bits

local function is_whole(text)
  return text ~= nil and string.match(text, '^%d+$') ~= nil and #text <= 19
end

local function is_ttl(text)
  return is_whole(text) and tonumber(text) <= MAX_TTL_MS
end

local function clock_us()
  local now = redis.call('TIME')
  return now[1] .. string.format('%06d', tonumber(now[2]))
end

local function expire(key, ttl_ms)
  if tonumber(ttl_ms) > 0 then
    redis.call('PEXPIRE', key, ttl_ms)
  else
    redis.call('PERSIST', key)
  end
end

