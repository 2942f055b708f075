-- ARGV[4] the first checkpoint's field, ARGV[5] its position: only where the shard has no marker.
if #markers() == 0 then redis.call('HSET', KEYS[1], ARGV[4], ARGV[5]) end
return done()
