-- Takes a shard for a new epoch. KEYS[1] header; ARGV: epoch, owner, number of shards, format, the oldest one that is read.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'shards', 'format')
if head[2] and head[2] ~= ARGV[3] then return 'shards ' .. head[2] end
if head[3] and head[3] ~= ARGV[4] and head[3] ~= ARGV[5] then return 'format ' .. head[3] end
if head[1] and tonumber(head[1]) >= tonumber(ARGV[1]) then return 'refused' end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'seq', '0', 'shards', ARGV[3], 'format', ARGV[4])
return 'done'
