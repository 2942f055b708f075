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


def crc32c(data, crc=0xFFFFFFFF):
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


quote = lambda text: "".join("%%%02X" % ord(c) if c in "{}:%" else c for c in text)
shard = zlib.crc32(f"{KIND}:{KEY}".encode()) % int(head[b"shards"])
envelope = db.get(f"{PREFIX}{{s{shard:03}}}:p:{quote(KIND)}:{quote(KEY)}")
if envelope is None:
    sys.exit("no such profile")
size, start = struct.unpack_from("<I", envelope, 12)[0], 20 if envelope[0] == 3 else 16  # format 2 has no CRC
value = b"" if size == 0xFFFFFFFF else envelope[start : start + size]  # of the first version, which is the newer one
if envelope[0] == 3 and envelope[1] != 129:  # 129: one version, which came from format 2
    name = b"p\xff" + KIND.encode() + b"\xff" + KEY.encode() + b"\xff"
    if crc32c(name + envelope[4:16] + value) != struct.unpack_from("<I", envelope, 16)[0]:
        sys.exit("the value is damaged, or stands under the name of another profile")
if not value:
    sys.exit("no such profile")
record, at = value[10:], 0  # form, tag, id and a length stand before the record
for name, kind in layout["kinds"][KIND]:
    if kind in TYPES:
        print(name, *struct.unpack_from("<" + TYPES[kind], record, at))
        at += struct.calcsize("<" + TYPES[kind])
        continue
    (size,), at = struct.unpack_from("<I", record, at), at + 4 + struct.unpack_from("<I", record, at)[0]
    for field in layout["profiles"][name]["fields"] if kind == "profile" and size else []:
        values = struct.unpack_from(f"<{field['count']}{TYPES[field['type']]}", record, at - size + field["offset"])
        print(f"{name}.{field['name']}", *values)
