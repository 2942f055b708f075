"""Kafka's batches of records (magic 2), written and read without packages; see kafka_wire.py.

`python3 -m doctest scripts/kafka_records.py` runs the examples below; scripts/test does.
"""

import gzip
import struct
import sys
from array import array
from typing import Iterator, NamedTuple

HEAD = struct.Struct(">qiibIhiqqqhii")
AFTER_CRC = struct.calcsize(">qiibI")
COMPRESSION, TRANSACTIONAL, CONTROL = 0x07, 0x10, 0x20
GZIP, LZ4 = 1, 3
NAMES = {2: "snappy", 4: "zstd"}
LZ4_MAGIC = b"\x04\x22\x4d\x18"


class BadBatch(Exception):
    """Bytes that are no batch, or one that cannot be read here."""


class Record(NamedTuple):
    """One message."""

    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


# ---- checksums and keys


def _tables() -> tuple[list[int], list[int]]:
    """CRC-32C by one byte, and by two at once: twice as fast in Python."""
    one = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        one.append(value)
    half = [one[v & 255] ^ (v >> 8) for v in range(65536)]
    return one, [one[v & 255] ^ (v >> 8) for v in half]


ONE, TWO = _tables()


def crc32c(data: bytes) -> int:
    """
    >>> hex(crc32c(b"123456789")), hex(crc32c(b"")), hex(crc32c(bytes(32)))
    ('0xe3069283', '0x0', '0x8a9136aa')
    """
    pairs = array("H", data[: len(data) & ~1])
    if sys.byteorder == "big":
        pairs.byteswap()
    crc, table = 0xFFFFFFFF, TWO
    for pair in pairs:
        crc = table[(crc ^ pair) & 0xFFFF] ^ (crc >> 16)
    if len(data) & 1:
        crc = ONE[(crc ^ data[-1]) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's own producer puts a key (murmur2), so that a key's messages meet whoever sends them.

    >>> [partition_of(k, 2**31) - 2**31 for k in (b"21", b"foobar", b"a-little-bit-long-string")]  # Kafka's own examples
    [-973932308, -790332482, -985981536]
    >>> partition_of(b"abc", 2**31)
    479470107
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for (k,) in struct.iter_unpack("<I", key[:whole]):
        k = k * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


# ---- writing


def varint(value: int) -> bytes:
    """
    >>> varint(0), varint(-1), varint(150)
    (b'\\x00', b'\\x01', b'\\xac\\x02')
    """
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def batch(messages: list[tuple[bytes, bytes]], time_ms: int) -> bytes:
    """A batch of (key, value), not compressed.

    >>> [tuple(r) for r in records(batch([(b"k", b"v"), (b"", b"w" * 300)], 7), [])[0]][0]
    (0, 7, b'k', b'v', [])
    """
    parts = []
    for index, (key, value) in enumerate(messages):
        body = b"\0\0" + varint(index) + varint(len(key)) + key + varint(len(value)) + value + b"\0"
        parts += (varint(len(body)), body)
    count = len(messages)
    after = struct.pack(">hiqqqhii", 0, count - 1, time_ms, time_ms, -1, -1, -1, count) + b"".join(parts)
    return struct.pack(">qiibI", 0, len(after) + 9, -1, 2, crc32c(after)) + after


# ---- reading


class _Cursor:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return (value >> 1) ^ -(value & 1)
            shift += 7

    def bytes(self) -> bytes | None:
        size = self.varint()
        if size < 0:
            return None
        self.at += size
        if self.at > len(self.data):
            raise IndexError
        return self.data[self.at - size : self.at]


def lz4(data: bytes) -> bytes:
    """One LZ4 frame, unpacked. Blocks may lean on those before them; checksums are Kafka's own (the batch has one).

    >>> block = b"\\x38abc\\x03\\x00\\x10!"
    >>> lz4(LZ4_MAGIC + b"\\x60\\x40\\x00" + len(block).to_bytes(4, "little") + block + bytes(4))
    b'abcabcabcabcabc!'
    """
    if data[:4] != LZ4_MAGIC:
        raise BadBatch("no LZ4 frame")
    flags, at = data[4], 7 + (8 if data[4] & 0x08 else 0)
    out = bytearray()
    while size := int.from_bytes(data[at : at + 4], "little"):
        at += 4
        stored, size = size >> 31, size & 0x7FFFFFFF
        block = data[at : at + size]
        if len(block) < size:
            raise BadBatch("an LZ4 frame is cut short")
        out += block if stored else b""
        if not stored:
            _lz4_block(block, out)
        at += size + (4 if flags & 0x10 else 0)
    return bytes(out)


def _lz4_block(block: bytes, out: bytearray) -> None:
    at, end = 0, len(block)

    def length(size: int) -> int:
        nonlocal at
        if size == 15:
            while True:
                size += block[at]
                at += 1
                if block[at - 1] != 255:
                    break
        return size

    while at < end:
        token = block[at]
        at += 1
        size = length(token >> 4)
        out += block[at : at + size]
        at += size
        if at >= end:
            return  # the last sequence is of literals alone
        back = block[at] | block[at + 1] << 8
        at += 2
        size = length(token & 15) + 4
        start = len(out) - back
        if not back or start < 0:
            raise BadBatch("an LZ4 block points before its beginning")
        # A match may overlap what it makes: then it repeats.
        chunk = bytes(out[start : start + size])
        out += (chunk * (size // len(chunk) + 1))[:size]


def records(data: bytes, aborted: list[tuple[int, int]]) -> tuple[list[Record], int | None]:
    """The committed records of a partition's answer, and the offset after its last whole batch (None: there is none).

    `aborted` has (producer, first offset) of transactions that were not committed: their records are left out.
    """
    result, after, at = [], None, 0
    waiting = sorted(aborted, key=lambda a: a[1])
    dropped: set[int] = set()
    while at + HEAD.size <= len(data):
        (base, length, _, magic, crc, attributes, last, base_ms, _, producer, _, _, count) = HEAD.unpack_from(data, at)
        if magic != 2:
            raise BadBatch(f"a batch of the old form {magic} at offset {base}")
        if at + 12 + length > len(data):
            break  # the broker cuts the last one where the answer is full
        body = data[at + AFTER_CRC : at + 12 + length]
        if crc32c(body) != crc:
            raise BadBatch(f"the batch at offset {base} has another checksum")
        at, after = at + 12 + length, base + last + 1
        while waiting and waiting[0][1] <= base + last:
            dropped.add(waiting.pop(0)[0])
        payload = body[HEAD.size - AFTER_CRC :]
        if attributes & CONTROL:
            # The marker's key is a version and a type; 0 ends an aborted transaction.
            marker = next(_records(payload, base, base_ms, count))
            if struct.unpack(">hh", marker.key[:4])[1] == 0:
                dropped.discard(producer)
        elif not (attributes & TRANSACTIONAL and producer in dropped):
            kind = attributes & COMPRESSION
            if kind not in (0, GZIP, LZ4):
                raise BadBatch(f"the batch at offset {base} is compressed with {NAMES.get(kind, kind)}, which is not read "
                               "here (gzip and lz4 are); use Kafka's own kafka-console-consumer.sh")
            payload = gzip.decompress(payload) if kind == GZIP else lz4(payload) if kind == LZ4 else payload
            result += _records(payload, base, base_ms, count)
    return result, after


def _records(payload: bytes, base: int, base_ms: int, count: int) -> Iterator[Record]:
    cursor = _Cursor(payload)
    try:
        for _ in range(count):
            end = cursor.varint() + cursor.at
            cursor.at += 1
            time_ms, offset = base_ms + cursor.varint(), base + cursor.varint()
            key, value = cursor.bytes(), cursor.bytes()
            headers = [(cursor.bytes().decode(errors="replace"), cursor.bytes()) for _ in range(cursor.varint())]
            if cursor.at != end:
                raise IndexError
            yield Record(offset, time_ms, key, value, headers)
    except (IndexError, AttributeError) as e:
        raise BadBatch(f"a record of the batch at offset {base} is not as its lengths say") from e
