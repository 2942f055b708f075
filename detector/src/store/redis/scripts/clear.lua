-- KEYS[2] the shard's index. No record is left.
redis.call('UNLINK', KEYS[2])
redis.call('HDEL', KEYS[1], 'records')
return done()
