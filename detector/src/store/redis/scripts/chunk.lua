-- KEYS[2..] records; ARGV[4..7] epoch and n of the base and of the new version; ARGV[8] one letter per record:
-- w write, d delete, t tidy, e erase; ARGV[9..] their values.
local GONE = 4294967295
local be, bn, e, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 2, #KEYS do
  local key, change = KEYS[i], string.sub(ARGV[8], i - 1, i - 1)
  -- The newest version at or below the base: versions are stored newest first.
  local kept, kept_gone, others
  local old = change ~= 'e' and redis.call('GET', key)
  if old then
    local format, count = string.byte(old, 1, 2)
    if format ~= 1 then return redis.error_reply('DAMAGED record ' .. key) end
    local at = 5
    for version = 1, count do
      local ve, vn, len = struct.unpack('<I4I4I4', old, at)
      local size = len == GONE and 12 or 12 + len
      if ve < be or (ve == be and vn <= bn) then
        kept, kept_gone = string.sub(old, at, at + size - 1), len == GONE
        others = others or version < count
        break
      end
      others = true
      at = at + size
    end
  end
  if change == 'w' then
    local value = ARGV[7 + i]
    redis.call('SET', key, string.char(1, kept and 2 or 1, 0, 0) .. struct.pack('<I4I4I4', e, n, #value) .. value .. (kept or ''))
  elseif not kept or kept_gone then
    -- Absent at the base and absent now: nobody needs a tombstone.
    redis.call('DEL', key)
  elseif change == 'd' then
    redis.call('SET', key, string.char(1, 2, 0, 0) .. struct.pack('<I4I4I4', e, n, GONE) .. kept)
  elseif others then
    redis.call('SET', key, string.char(1, 1, 0, 0) .. kept)
  end
end
return done()
