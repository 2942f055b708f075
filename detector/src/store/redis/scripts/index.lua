-- Goes between the guard and a chunk: the names that come and go with it, written in one piece at the end. `index.rs` has the form.
local END, BLOCKS = '\255', 65536
local function index_of(key, full)
  local fill, top, free, chosen, changed
  local added, removed, order, count = {}, {}, {}, 0
  -- A record's name is what stands behind the hash tag, where the header's key has `head`.
  local behind = #KEYS[1] - 3
  local function open()
    if fill then return end
    local room = redis.call('HGET', key, 'room') or '\0\0\0\0'
    fill, top = struct.unpack('<I2I2', room)
    free = string.sub(room, 5)
  end
  local index = {}
  -- The block that this call's new names go to, which is the same for all of them.
  function index.add(record)
    open()
    if not chosen then
      chosen = true
      if redis.call('HSTRLEN', key, fill) >= full then
        changed = true
        if free ~= '' then
          fill, free = struct.unpack('<I2', free, #free - 1), string.sub(free, 1, -3)
        elseif top < BLOCKS - 1 then
          top = top + 1
          fill = top
        else
          fill = (fill + 1) % BLOCKS
        end
      end
    end
    added[#added + 1] = string.sub(record, behind)
    return fill
  end
  function index.remove(record, block)
    open()
    if not removed[block] then
      removed[block] = {}
      order[#order + 1] = block
    end
    table.insert(removed[block], string.sub(record, behind))
  end
  function index.write()
    if #added > 0 then
      local names = redis.call('HGET', key, fill) or END
      redis.call('HSET', key, fill, names .. table.concat(added, END) .. END)
      count = count + #added
      changed = true
    end
    for _, block in ipairs(order) do
      local names = redis.call('HGET', key, block) or END
      local before = #names
      for _, name in ipairs(removed[block]) do
        local at = string.find(names, END .. name .. END, 1, true)
        if at then
          names = string.sub(names, 1, at) .. string.sub(names, at + #name + 2)
          count = count - 1
        end
      end
      if #names > 1 then
        redis.call('HSET', key, block, names)
      else
        redis.call('HDEL', key, block)
      end
      if 2 * before >= full and 2 * #names < full and block ~= fill then
        free = free .. struct.pack('<I2', block)
        changed = true
      end
    end
    if changed then redis.call('HSET', key, 'room', struct.pack('<I2I2', fill, top) .. free) end
    if count ~= 0 then redis.call('HINCRBY', KEYS[1], 'records', count) end
  end
  return index
end
