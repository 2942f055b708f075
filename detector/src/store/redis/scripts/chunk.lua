-- KEYS[2] the shard's index, KEYS[3..] records; ARGV[4..7] epoch and n of the base and of the new version; ARGV[8] bytes at
-- which a block of the index is full; ARGV[9] one letter per record: w write, d delete, t tidy, e erase; ARGV[10] their CRCs, 4 bytes each;
-- ARGV[11..] their values. `record.rs` has the envelope's form.
local GONE, UNCHECKED, HEAD = 4294967295, 128, string.char(3)
-- Keys are personal data: none in an error.
local DAMAGED = redis.error_reply('DAMAGED record')
local be, bn, e, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local index = index_of(KEYS[2], tonumber(ARGV[8]))

-- What went before stands, and so must its names.
local function stop(why)
  index.write()
  return why
end

for i = 3, #KEYS do
  local key, change = KEYS[i], string.sub(ARGV[9], i - 2, i - 2)
  -- The newest version at or below the base: versions are stored newest first.
  local kept, kept_gone, others, block
  -- Added to the number of versions: the kept one has no CRC.
  local mark = 0
  local old = change ~= 'e' and redis.pcall('GET', key)
  if type(old) == 'table' then return stop(old) end
  if old then
    local format, count = string.byte(old, 1, 2)
    local size_of_head = format == 2 and 12 or 16
    if (format ~= 2 and format ~= 3) or #old < 4 + size_of_head then return stop(DAMAGED) end
    local unchecked = format == 2
    if format == 3 and count >= UNCHECKED then count, unchecked = count - UNCHECKED, true end
    if count < 1 or count > 2 then return stop(DAMAGED) end
    block = struct.unpack('<I2', old, 3)
    local at = 5
    for version = 1, count do
      if #old < at + size_of_head - 1 then return stop(DAMAGED) end
      local ve, vn, len = struct.unpack('<I4I4I4', old, at)
      local size = len == GONE and size_of_head or size_of_head + len
      if #old < at + size - 1 then return stop(DAMAGED) end
      if ve < be or (ve == be and vn <= bn) then
        kept, kept_gone = string.sub(old, at, at + size - 1), len == GONE
        if unchecked and (format == 2 or version == count) then mark = UNCHECKED end
        -- There is no CRC-32C here to compute it with.
        if format == 2 then kept = string.sub(kept, 1, 12) .. '\0\0\0\0' .. string.sub(kept, 13) end
        others = others or version < count
        break
      end
      others = true
      at = at + size
    end
  end
  local crc = string.sub(ARGV[10], 4 * i - 11, 4 * i - 8)
  if change == 'w' then
    local value = ARGV[8 + i]
    block = block or index.add(key)
    redis.call('SET', key, HEAD .. string.char(kept and 2 + mark or 1) .. struct.pack('<I2I4I4I4', block, e, n, #value) .. crc .. value .. (kept or ''))
  elseif not kept or kept_gone then
    -- Absent at the base and absent now: nobody needs a tombstone.
    redis.call('DEL', key)
    if block then index.remove(key, block) end
  elseif change == 'd' then
    redis.call('SET', key, HEAD .. string.char(2 + mark) .. struct.pack('<I2I4I4I4', block, e, n, GONE) .. crc .. kept)
  elseif others then
    redis.call('SET', key, HEAD .. string.char(1 + mark) .. struct.pack('<I2', block) .. kept)
  end
end
index.write()
return done()
