-- KEYS[1] header, KEYS[2] sign of life; ARGV: epoch, owner, milliseconds (0 takes the sign away). No part of the chain.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then return 'refused' end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[2])
else
  -- Each one differs from the last, so that who looks can judge by its own clock.
  local now = redis.call('TIME')
  redis.call('SET', KEYS[2], ARGV[2] .. ':' .. now[1] .. '.' .. now[2], 'PX', ARGV[3])
end
return 'done'
