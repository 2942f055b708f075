-- ARGV[4] the base's field: it stays readable, and nothing else does.
if redis.call('HEXISTS', KEYS[1], ARGV[4]) == 0 then return 'no base' end
for _, field in ipairs(markers()) do
  if field ~= ARGV[4] then redis.call('HDEL', KEYS[1], field) end
end
return done()
