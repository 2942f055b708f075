"""Reads one profile from Redis: read_profile.py KIND KEY [LAYOUT_HASH] (REDIS_URL says where). docs/redis.md has the form."""
import json, os, struct, sys, zlib
import redis

PREFIX = os.environ.get("DETECTOR_PREFIX", "det:")
db = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


def profile(kind, key, shards):
    """The newest value, or None."""
    quote = lambda text: "".join("%%%02X" % ord(c) if c in "{}:%" else c for c in text)
    shard = zlib.crc32(f"{kind}:{key}".encode()) % shards
    envelope = db.get(f"{PREFIX}{{s{shard:03}}}:p:{quote(kind)}:{quote(key)}")
    if envelope is None:
        return None
    if envelope[0] != 1:
        raise ValueError(f"envelope of format {envelope[0]}: this reads format 1")
    epoch, number, length = struct.unpack_from("<III", envelope, 4)  # the first version is the newer one
    return None if length == 0xFFFFFFFF else envelope[16 : 16 + length]


shards = int(os.environ.get("DETECTOR_SHARDS") or db.hget(f"{PREFIX}{{s000}}:head", "shards"))
value = profile(sys.argv[1], sys.argv[2], shards)
if value is None:
    sys.exit("no such profile")
print(f"{len(value)} bytes")
if len(sys.argv) > 3:  # fields: [{"name", "at", "type"}], the type as Python's struct has it
    for field in json.loads(db.get(f"{PREFIX}layout:{sys.argv[3]}"))["fields"]:
        print(field["name"], *struct.unpack_from("<" + field["type"], value, field["at"]))
