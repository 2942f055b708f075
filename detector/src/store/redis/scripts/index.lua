-- Goes between the guard and a chunk: the names that come and go with it, written at its end. `index.rs` has the form.
local END, BLOCKS = '\255', 65536
local function index_of(key, full)
  local fill, top, free, length, changed
  local added, filled, removed, emptied, count = {}, {}, {}, {}, 0
  -- A record's name is what stands behind the hash tag, where the header's key has `head`.
  local behind = #KEYS[1] - 3
  local function open()
    if fill then return end
    local room = redis.call('HGET', key, 'room') or '\0\0\0\0'
    fill, top = struct.unpack('<I2I2', room)
    free = string.sub(room, 5)
  end
  local function go_on()
    changed = true
    if free ~= '' then
      fill, free = struct.unpack('<I2', free, #free - 1), string.sub(free, 1, -3)
      length = redis.call('HSTRLEN', key, fill)
    else
      if top < BLOCKS - 1 then
        top = top + 1
        fill = top
      else
        -- There are no more: each in turn grows by a block's size.
        fill = (fill + 1) % BLOCKS
      end
      length = 0
    end
  end
  -- A name, into the list of its block; `order` has the blocks in the order in which they first came.
  local function note(lists, order, block, record)
    if not lists[block] then
      lists[block] = {}
      order[#order + 1] = block
    end
    table.insert(lists[block], string.sub(record, behind))
  end
  local index = {}
  function index.add(record)
    open()
    length = length or redis.call('HSTRLEN', key, fill)
    if length >= full then go_on() end
    -- As Redis counts: a block begins with one byte more.
    length = math.max(length, 1) + #record - behind + 2
    note(added, filled, fill, record)
    return fill
  end
  function index.remove(record, block)
    open()
    note(removed, emptied, block, record)
  end
  function index.write()
    for _, block in ipairs(filled) do
      local names = redis.call('HGET', key, block) or END
      redis.call('HSET', key, block, names .. table.concat(added[block], END) .. END)
      count = count + #added[block]
      changed = true
    end
    for _, block in ipairs(emptied) do
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
