-- Goes before every guarded call. KEYS[1] header; ARGV[1..3] epoch, owner, seq.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'seq')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] or head[3] ~= ARGV[3] then return 'refused' end
-- The last write of a call: a call that failed half-way has not moved the chain on, and can be sent again.
local function done()
  redis.call('HINCRBY', KEYS[1], 'seq', 1)
  return 'done'
end
local function markers()
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'r:' then found[#found + 1] = field end
  end
  return found
end
