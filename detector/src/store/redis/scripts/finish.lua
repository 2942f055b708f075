-- ARGV[4] the checkpoint's field, ARGV[5] its position.
local others = 0
for _, field in ipairs(markers()) do
  if field ~= ARGV[4] then others = others + 1 end
end
if others > 1 then return 'no base' end
redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
return done()
