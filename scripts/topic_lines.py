"""Lines of JSON into topics and out of them: `send` and `read` of scripts/topics."""

import contextlib
import gzip
import heapq
import json
import sys
import time
from datetime import datetime, timezone
from typing import IO, Iterator

from kafka_records import BadBatch, Record, batch, partition_of, records
from kafka_wire import Kafka, KafkaError, check

LINE_BYTES = 900_000  # brokers take batches of 1 MB, unless told otherwise
# Of one request over all partitions: small, because the order of messages holds within a partition alone, and a reader
# of several should meet events about when their `ts` says.
REQUEST_BYTES = 64 << 10


class BadLine(Exception):
    """A file or a line that cannot be sent."""


# ---- send


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with open(path, "rb") as file:
            magic = file.peek(4)[:4]
            if magic == b"\x28\xb5\x2f\xfd":
                raise BadLine(f"{path} is zstd; write: zstd -dc {path} | scripts/topics send TOPIC -")
            yield gzip.open(file) if magic[:2] == b"\x1f\x8b" else file
    except (OSError, EOFError) as e:
        raise BadLine(f"cannot read {path}: {getattr(e, 'strerror', None) or e}") from e


def moment(ts: object) -> float:
    """`ts` in milliseconds: it is those already, or text by RFC 3339."""
    if isinstance(ts, str):
        return datetime.fromisoformat(ts.replace("Z", "+00:00")).timestamp() * 1000
    return float(ts)


def lines(path: str, topic: str, field: str, merged: bool) -> Iterator[tuple[float, str, bytes, bytes]]:
    """(ts, topic, key, line) of a file's lines; `ts` is looked at only where files are merged."""
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line:
                continue
            try:
                value = json.loads(line)
                key = value.get(field, "")  # a label may name an event alone
                at = moment(value["ts"]) if merged else 0.0
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                needs = "a JSON object with 'ts'" if merged else "a JSON object"
                raise BadLine(f"{path}:{number}: needs {needs}, found {line[:80].decode(errors='replace')!r}") from e
            if not isinstance(key, str):
                raise BadLine(f"{path}:{number}: {field!r} is no text: {key!r}")
            if len(line) > LINE_BYTES:
                raise BadLine(f"{path}:{number}: a line of {len(line)} bytes; at most {LINE_BYTES} are sent")
            yield at, topic, key.encode(), line


class Sender:
    """Gathers messages by topic and partition; those of one request are written together."""

    def __init__(self, kafka: Kafka, topics: list[str]):
        self.kafka = kafka
        self.partitions = {}
        for topic, (code, leaders) in kafka.metadata(topics)[1].items():
            check(code, f"topic {topic}")
            self.partitions[topic] = len(leaders)
        self.placed: dict[tuple[str, bytes], int] = {}
        self.sent = dict.fromkeys(topics, 0)
        self.without_key = 0
        self.clear()

    def clear(self) -> None:
        self.waiting: dict[str, dict[int, list]] = {topic: {} for topic in self.partitions}
        self.size = 0

    def add(self, topic: str, key: bytes, line: bytes) -> None:
        if self.size + len(line) > REQUEST_BYTES:
            self.flush()
        where = self.placed.get((topic, key))
        if where is None:
            where = self.placed[topic, key] = partition_of(key, self.partitions[topic])
        self.waiting[topic].setdefault(where, []).append((key, line))
        self.size += len(line) + len(key) + 20

    def flush(self) -> None:
        now = int(time.time() * 1000)
        batches = {t: {p: batch(m, now) for p, m in parts.items()} for t, parts in self.waiting.items() if parts}
        if batches:
            self.kafka.produce(batches)
        for topic, parts in self.waiting.items():
            self.sent[topic] += sum(map(len, parts.values()))
            self.without_key += sum(not key for part in parts.values() for key, _ in part)
        self.clear()


def send(kafka: Kafka, files: list[tuple[str, str]], field: str, rate: float | None) -> None:
    sender = Sender(kafka, [topic for topic, _ in files])
    streams = [lines(path, topic, field, len(files) > 1) for topic, path in files]
    begin = time.monotonic()
    try:
        for number, (_, topic, key, line) in enumerate(heapq.merge(*streams, key=lambda entry: entry[0])):
            if rate and (ahead := begin + number / rate - time.monotonic()) > 0.05:
                sender.flush()
                time.sleep(ahead)
            sender.add(topic, key, line)
        sender.flush()
    finally:
        took, counts = time.monotonic() - begin, ", ".join(f"{count:,} to {topic}" for topic, count in sender.sent.items())
        without = f" ({sender.without_key:,} name no {field!r}: their key is empty)" if sender.without_key else ""
        print(f"lines sent: {counts}{without}, in {took:.1f} s", file=sys.stderr)


# ---- read


def as_json(data: bytes | None) -> str:
    """A message's value as it is if it is JSON, else as text."""
    if data is None:
        return "null"
    try:
        text = data.decode()
        json.loads(text, parse_constant=wrong)
        return text.strip() if "\n" not in text else json.dumps(json.loads(text))
    except ValueError:
        return as_text(data)


def wrong(name: str) -> None:
    raise ValueError(name)  # NaN and its like are no JSON, though Python reads them


def as_text(data: bytes | None) -> str:
    return "null" if data is None else json.dumps(data.decode(errors="replace"))


def shown(partition: int, record: Record) -> str:
    at = datetime.fromtimestamp(record.time_ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
    headers = ", ".join(f"{json.dumps(name)}: {as_text(value)}" for name, value in record.headers)
    return (f'{{"partition": {partition}, "offset": {record.offset}, "time": "{at.replace("+00:00", "Z")}", '
            f'"key": {as_text(record.key)}, "headers": {{{headers}}}, "value": {as_json(record.value)}}}')


def read(kafka: Kafka, topic: str, count: int | None, follow: bool) -> None:
    """Prints committed messages; each partition in its order, and what one answer brings by time."""
    at, ends, left = kafka.offsets(topic, -2), {}, count
    while True:
        found = []
        for partition, (committed, aborted, data) in kafka.fetch(topic, at, 0.5 if ends else 0).items():
            ends.setdefault(partition, committed)
            try:
                got, after = records(data, aborted)
            except BadBatch as e:
                raise KafkaError(f"{topic}-{partition}: {e}") from e
            # An answer begins with the batch that holds the offset asked for: what is before it was seen.
            found += [(r.time_ms, partition, r) for r in got if r.offset >= at[partition]]
            at[partition] = max(at[partition], after or 0)
        for _, partition, record in sorted(found, key=lambda f: f[:2]):
            if left == 0:
                return
            print(shown(partition, record), flush=follow)
            left = None if left is None else left - 1
        if left == 0:
            return
        if not follow and left is None and all(at[p] >= end for p, end in ends.items()):
            return
        sys.stdout.flush()
