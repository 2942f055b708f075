"""Reads one profile from Redis: read_profile.py KIND KEY (REDIS_URL says where). docs/redis.md has the form."""
import json, os, struct, sys, zlib
import redis

PREFIX, (KIND, KEY) = os.environ.get("DETECTOR_PREFIX", "det:"), sys.argv[1:]
TYPES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q", "f32": "f"}
db = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))

head = db.hgetall(f"{PREFIX}{{s000}}:head")  # a checkpoint's position says by which layout it was written
newest = max((f for f in head if f.startswith(b"r:")), key=lambda f: [int(n) for n in f[2:].split(b".")])
position = json.loads(head[newest])
layout = json.loads(db.get(f"{PREFIX}layout:{json.loads(position['detail'])['features']}"))

quote = lambda text: "".join("%%%02X" % ord(c) if c in "{}:%" else c for c in text)
shard = zlib.crc32(f"{KIND}:{KEY}".encode()) % int(head[b"shards"])
envelope = db.get(f"{PREFIX}{{s{shard:03}}}:p:{quote(KIND)}:{quote(KEY)}")
if envelope is None or struct.unpack_from("<I", envelope, 12)[0] == 0xFFFFFFFF:
    sys.exit("no such profile")
record, at = envelope[16 + 10 :], 0  # the first version is the newer one; form, tag, id and a length stand before its record
for name, kind in layout["kinds"][KIND]:
    if kind in TYPES:
        print(name, *struct.unpack_from("<" + TYPES[kind], record, at))
        at += struct.calcsize("<" + TYPES[kind])
        continue
    (size,), at = struct.unpack_from("<I", record, at), at + 4 + struct.unpack_from("<I", record, at)[0]
    for field in layout["profiles"][name]["fields"] if kind == "profile" and size else []:
        values = struct.unpack_from(f"<{field['count']}{TYPES[field['type']]}", record, at - size + field["offset"])
        print(f"{name}.{field['name']}", *values)
