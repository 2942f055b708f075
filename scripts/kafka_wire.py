"""The few Kafka requests that scripts need, over a plain TCP connection, without Java and without packages.

Only versions that both old and new brokers speak (KIP-896 keeps them), and only those without tagged fields.
It is for scripts and tests: one request at a time, one broker, no TLS.
"""

import base64
import hashlib
import hmac
import os
import re
import socket
import struct
import time


class KafkaError(Exception):
    """What a broker refused, or that it did not answer."""

    def __init__(self, message: str, code: int = 0):
        super().__init__(message)
        self.code = code


# The codes that these requests can meet; https://kafka.apache.org/protocol#protocol_error_codes
ERRORS = {
    1: "the offset is gone", 3: "unknown topic or partition", 5: "no leader yet", 6: "another broker leads it", 7: "timed out",
    10: "the message is larger than the topic takes (max.message.bytes)", 14: "the coordinator is loading",
    15: "the coordinator is not available", 16: "not the coordinator", 17: "invalid topic name",
    29: "topic authorization failed", 31: "cluster authorization failed", 33: "unsupported SASL mechanism",
    34: "illegal SASL state", 36: "the topic exists already", 37: "invalid number of partitions",
    38: "invalid replication factor", 40: "invalid configuration", 41: "not the controller", 42: "invalid request",
    44: "policy violation", 54: "security is disabled", 58: "SASL authentication failed",
}
UNAVAILABLE, TOPIC_EXISTS = 15, 36
PRODUCE, FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR = 0, 1, 2, 3, 10
SASL_HANDSHAKE, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, CREATE_ACLS, SASL_AUTHENTICATE = 17, 18, 19, 20, 30, 36

RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
PATTERNS = {"literal": 3, "prefixed": 4}
OPERATIONS = {
    "all": 2, "read": 3, "write": 4, "create": 5, "delete": 6, "alter": 7, "describe": 8, "cluster-action": 9,
    "describe-configs": 10, "alter-configs": 11, "idempotent-write": 12,
}


def text(value: str | None) -> bytes:
    """A nullable string."""
    if value is None:
        return struct.pack(">h", -1)
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def array(items: list[bytes]) -> bytes:
    """An array of things that are bytes already."""
    return struct.pack(">i", len(items)) + b"".join(items)


class Reader:
    """Reads a response from its front."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str | None:
        size = self.take("h")
        return None if size < 0 else self.raw(size).decode()

    def bytes(self) -> bytes:
        size = self.take("i")
        return b"" if size < 0 else self.raw(size)

    def raw(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise KafkaError("the broker's answer is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def array(self, one) -> list:
        return [one() for _ in range(self.take("i"))]


def check(code: int, what: str, message: str | None = None) -> None:
    """Raises for an error code that is not 0."""
    if code:
        name = ERRORS.get(code, f"error code {code}")
        raise KafkaError(f"{what}: {name}" + (f" ({message})" if message else ""), code)


class Kafka:
    """A connection to one broker."""

    def __init__(self, bootstrap: str, timeout_s: float = 10.0):
        first = bootstrap.split(",")[0]
        host, _, port = first.rpartition(":")
        if not host or not port.isdigit():
            raise KafkaError(f"{first!r} is no address; write HOST:PORT")
        self.address = first
        try:
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        except OSError as e:
            raise KafkaError(f"cannot connect to Kafka at {first}: {e}") from e
        # A connection to a dead server's port can meet itself, when the port is one that the system hands out.
        if self.socket.getsockname() == self.socket.getpeername():
            self.socket.close()
            raise KafkaError(f"nothing listens at {first} (the connection met itself)")
        self.socket.settimeout(timeout_s)
        self.serial = 0
        self.cluster: str | None = None  # known after metadata()

    def __enter__(self) -> "Kafka":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    def call(self, api: int, version: int, body: bytes) -> Reader:
        """One request and its answer."""
        self.serial += 1
        head = struct.pack(">hhi", api, version, self.serial) + text("detector-scripts")
        message = head + body
        try:
            self.socket.sendall(struct.pack(">i", len(message)) + message)
            size = struct.unpack(">i", self._exactly(4))[0]
            if not 4 <= size <= 100 << 20:
                raise KafkaError(f"{self.address} does not speak Kafka's protocol")
            answer = Reader(self._exactly(size))
        except OSError as e:
            raise KafkaError(f"Kafka at {self.address} did not answer: {e}") from e
        if answer.take("i") != self.serial:
            raise KafkaError(f"{self.address} does not speak Kafka's protocol")
        return answer

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.socket.recv(min(size, 1 << 16))
            if not part:
                raise KafkaError(f"Kafka at {self.address} closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def api_versions(self) -> dict[int, tuple[int, int]]:
        """What the broker speaks: request -> (oldest, newest version)."""
        r = self.call(API_VERSIONS, 0, b"")
        check(r.take("h"), "ApiVersions")
        return {key: (low, high) for key, low, high in r.array(lambda: (r.take("h"), r.take("h"), r.take("h")))}

    def metadata(self, names: list[str] | None = None) -> tuple[list, dict]:
        """Brokers (id, host, port), and topic -> (error code, {partition: leader})."""
        body = struct.pack(">i", -1) if names is None else array([text(n) for n in names])
        r = self.call(METADATA, 4, body + b"\0")  # the last byte: topics are not created by asking
        r.take("i")  # throttled for
        brokers = r.array(lambda: (r.take("i"), r.text(), r.take("i"), r.text())[:3])
        self.cluster, _ = r.text(), r.take("i")  # and the controller

        def partition() -> tuple[int, int]:
            r.take("h")
            index, leader = r.take("i"), r.take("i")
            r.array(lambda: r.take("i")), r.array(lambda: r.take("i"))
            return index, leader

        def topic() -> tuple[str, tuple[int, dict]]:
            error, name, _ = r.take("h"), r.text(), r.take("b")
            return name, (error, dict(r.array(partition)))

        return brokers, dict(r.array(topic))

    def find_coordinator(self, key: str, transactions: bool) -> None:
        """Raises until the coordinator of a group, or of a transactional id, can be asked."""
        r = self.call(FIND_COORDINATOR, 1, text(key) + struct.pack(">b", int(transactions)))
        r.take("i")
        code, message = r.take("h"), r.text()
        check(code, "FindCoordinator", message)

    def create_topics(self, topics: list[tuple[str, int, dict[str, str]]], replication: int = 1,
                      timeout_s: float = 20.0) -> dict[str, KafkaError | None]:
        """Creates topics and waits until each partition has a leader; the error of each, if any."""
        items = [
            text(name) + struct.pack(">ih", partitions, replication) + array([])
            + array([text(k) + text(v) for k, v in config.items()])
            for name, partitions, config in topics
        ]
        r = self.call(CREATE_TOPICS, 2, array(items) + struct.pack(">ib", int(timeout_s * 1000), 0))
        r.take("i")
        results = {}
        for name, code, message in r.array(lambda: (r.text(), r.take("h"), r.text())):
            results[name] = KafkaError(f"topic {name}: {ERRORS.get(code, f'error code {code}')}"
                                       + (f" ({message})" if message else ""), code) if code else None
        wanted = {name: partitions for name, partitions, _ in topics if results.get(name) is None}
        deadline = time.monotonic() + timeout_s
        while wanted:
            _, seen = self.metadata(list(wanted))
            for name in list(wanted):
                code, leaders = seen.get(name, (3, {}))
                if code == 0 and len(leaders) == wanted[name] and min(leaders.values()) >= 0:
                    del wanted[name]
            if wanted and time.monotonic() > deadline:
                raise KafkaError(f"topics {', '.join(wanted)} have no leader after {timeout_s:.0f} s; see the broker's log")
            if wanted:
                time.sleep(0.01)
        return results

    def delete_topics(self, names: list[str], timeout_s: float = 20.0) -> dict[str, KafkaError | None]:
        """Deletes topics and waits until the broker has forgotten them."""
        r = self.call(DELETE_TOPICS, 1, array([text(n) for n in names]) + struct.pack(">i", int(timeout_s * 1000)))
        r.take("i")
        results = {}
        for name, code in r.array(lambda: (r.text(), r.take("h"))):
            results[name] = KafkaError(f"topic {name}: {ERRORS.get(code, f'error code {code}')}", code) if code else None
        deadline = time.monotonic() + timeout_s
        while any(self.metadata([n])[1].get(n, (3,))[0] == 0 for n, e in results.items() if e is None):
            if time.monotonic() > deadline:
                raise KafkaError(f"topics {', '.join(names)} are still there after {timeout_s:.0f} s")
            time.sleep(0.01)
        return results

    def offsets(self, topic: str, at: int) -> dict[int, int]:
        """Of each partition the first (`at` -2) or the next (`at` -1) offset; open transactions count."""
        code, leaders = self.metadata([topic])[1].get(topic, (3, {}))
        check(code, f"topic {topic}")
        parts = [struct.pack(">iq", p, at) for p in sorted(leaders)]
        r = self.call(LIST_OFFSETS, 1, struct.pack(">i", -1) + array([text(topic) + array(parts)]))
        result = {}
        for _, rows in r.array(lambda: (r.text(), r.array(lambda: (r.take("i"), r.take("h"), r.take("q"), r.take("q"))))):
            for partition, code, _, offset in rows:
                check(code, f"{topic}-{partition}")
                result[partition] = offset
        return result

    def produce(self, batches: dict[str, dict[int, bytes]], timeout_s: float = 5.0) -> None:
        """Writes one batch of records (kafka_records.py) to each partition named, and waits until all copies have it."""
        items = [
            text(topic) + array([struct.pack(">ii", p, len(data)) + data for p, data in partitions.items()])
            for topic, partitions in batches.items()
        ]
        r = self.call(PRODUCE, 3, text(None) + struct.pack(">hi", -1, int(timeout_s * 1000)) + array(items))
        for topic, rows in r.array(lambda: (r.text(), r.array(lambda: (r.take("i"), r.take("h"), r.take("q"), r.take("q"))))):
            for partition, code, _, _ in rows:
                check(code, f"{topic}-{partition}")

    def fetch(self, topic: str, at: dict[int, int], wait_s: float, size: int = 1 << 20) -> dict[int, tuple]:
        """Of each partition, from an offset on: (end of what is committed, transactions that were not, batches)."""
        parts = [struct.pack(">iqi", p, offset, size) for p, offset in at.items()]
        head = struct.pack(">iiiib", -1, int(wait_s * 1000), 1, 8 * size, 1)  # the last: committed messages alone
        r = self.call(FETCH, 4, head + array([text(topic) + array(parts)]))
        r.take("i")
        result = {}

        def partition() -> None:
            index, code = r.take("i"), r.take("h")
            _, committed = r.take("q"), r.take("q")
            aborted = r.array(lambda: (r.take("q"), r.take("q")))
            data = r.bytes()
            check(code, f"{topic}-{index}")
            result[index] = committed, aborted, data

        r.array(lambda: (r.text(), r.array(partition)))
        return result

    def allow(self, user: str, rights: list[tuple[str, str, str, str]]) -> None:
        """Allows (resource, pattern, name, operation), each from any host."""
        items = [
            struct.pack(">b", RESOURCES[resource]) + text(name) + struct.pack(">b", PATTERNS[pattern])
            + text(f"User:{user}") + text("*") + struct.pack(">bb", OPERATIONS[operation], 3)
            for resource, pattern, name, operation in rights
        ]
        r = self.call(CREATE_ACLS, 1, array(items))
        r.take("i")
        for code, message in r.array(lambda: (r.take("h"), r.text())):
            check(code, f"rights of {user}", message)

    def log_in(self, mechanism: str, user: str, password: str) -> None:
        """SASL PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; raises when the broker does not let the user in."""
        r = self.call(SASL_HANDSHAKE, 1, text(mechanism))
        check(r.take("h"), f"SASL {mechanism}")
        if mechanism == "PLAIN":
            self._authenticate(f"\0{user}\0{password}".encode())
            return
        digest = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}[mechanism]
        # RFC 5802: the server's half of the nonce begins with ours.
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={user},r={nonce}"
        challenge = self._authenticate(("n,," + bare).encode()).decode()
        both, salt, rounds = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", challenge).groups()
        if not both.startswith(nonce):
            raise KafkaError(f"SASL {mechanism}: the broker answered with another nonce")
        final = f"c=biws,r={both}"
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(salt), int(rounds))
        key = hmac.digest(salted, b"Client Key", digest)
        signature = hmac.digest(hashlib.new(digest, key).digest(), f"{bare},{challenge},{final}".encode(), digest)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self._authenticate(f"{final},p={base64.b64encode(proof).decode()}".encode())

    def _authenticate(self, token: bytes) -> bytes:
        r = self.call(SASL_AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
        code, message = r.take("h"), r.text()
        check(code, "SASL", message)
        return r.bytes()
