"""What the files of deployment start, started as processes of this machine: used by scripts/check-deploy.

The environment of each container and of the systemd unit is what their files say, with paths of a container replaced by those files
of the checkout that it has there, and the addresses by those of a stack (scripts/stack). Each part says what is wrong in words.
"""

import contextlib
import http.server
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import tomllib
import urllib.request
from pathlib import Path

from kafka_wire import Kafka, KafkaError

ROOT = Path(__file__).resolve().parent.parent
# A small platform; enough for actions.
PLATFORM = {"SIMULATE_ACCOUNTS": "1500", "SIMULATE_EVENTS": "20000", "SIMULATE_SEED": "1", "SOURCE_RATE": "0"}
PATIENCE_S = 90
# What a password may consist of, against both the unit's file and the configuration's text.
PASSWORD = """a b#c"d\\e$f;g='h"""
TOOLS = {"KAFKA_TOPICS": "TopicCommand", "KAFKA_CONSOLE_PRODUCER": "ConsoleProducer"}


class Wrong(Exception):
    """What does not start, or does something else."""


class NoStack(Exception):
    """Why there is no Kafka and no Redis here."""


def must(good: object, what: str) -> None:
    if not good:
        raise Wrong(what)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def interpolated(value: object) -> str:
    """A value as Compose makes it: ${NAME:-default}, and $$ for a dollar sign."""
    def one(match: re.Match) -> str:
        return "$" if match.group() == "$$" else PLATFORM.get(match.group(1), match.group(2))

    return re.sub(r"\$\$|\$\{([A-Z_]+):-([^${}]*)\}", one, str(value))


def environment_file(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile= by the rules of systemd (its env-file.c): a quote counts only where a value begins or
    another quote has just ended, and nothing is substituted."""
    found, state, key, value = {}, "before", "", ""
    for c in text + "\n":
        if state == "before":  # a name
            if c in "#;":
                state = "comment"
            elif not c.isspace():
                state, key, value = "name", c, ""
        elif state == "comment":
            state = "before" if c == "\n" else state
        elif state == "name":
            must(c != "\n", f"systemd leaves out the line {key!r}: it is no NAME=value")
            if c == "=":
                must(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.strip()), f"systemd leaves out the variable {key!r}: that is no name")
                state = "ready"
            else:
                key += c
        elif state in ("ready", "value"):  # of a value: before it or just behind a quote, and in it
            if c == "\n":
                found[key.strip()], state = value.rstrip() if state == "value" else value, "before"
            elif c == "\\":
                state = "escape"
            elif state == "ready" and c in "'\"":
                state = c
            elif state == "value" or not c.isspace():
                state, value = "value", value + c
        elif state == "escape":
            state, value = "value", value + c.strip("\n")
        elif state == "'":
            state, value = ("ready", value) if c == "'" else ("'", value + c)
        elif state == '"':
            state, value = ("ready", value) if c == '"' else ("quoted escape", value) if c == "\\" else ('"', value + c)
        else:
            state, value = '"', value + (c if c in '"\\`$' else "" if c == "\n" else "\\" + c)
    must(state == "before", f"the quote behind {key}= is not closed")
    return found


def quoted(value: str) -> str:
    """A value as docs/operations.md says that it is written in such a file."""
    return f"'{value}'" if "'" not in value else '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


@contextlib.contextmanager
def answering():
    """A server that answers /NUMBER with that status; its port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = self.path.strip("/")
            self.send_response(int(status) if status.isdigit() else 404)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Runs:
    """The files under a root, and a stack to run them against."""

    def __init__(self, root: Path, detector: Path, stack: dict[str, str], folder: Path):
        import yaml

        self.root, self.detector, self.stack, self.folder = root, detector, stack, folder
        self.services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
        self.paths = {"/usr/local/bin/detector": detector}
        for source, target in re.findall(r"^COPY (?!--)(\S+) (/\S+)$", (root / "Dockerfile").read_text(), re.M):
            self.paths[target] = root / source

    # What a container has

    def volume(self, name: str) -> Path:
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def place(self, service: str, text: object, addresses: dict[str, str] | None = None) -> str:
        """A word of a container's command or environment as it must be said on this machine."""
        places = dict(self.paths)
        for mount in self.services[service].get("volumes", []):
            source, target = str(mount).split(":")[:2]
            places[target] = self.root / source if source.startswith(".") else self.volume(source)
        text = interpolated(text)
        for path in sorted(places, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])", lambda _: str(places[path]), text)
        for address, there in (addresses or {}).items():
            text = text.replace(address, there)
        return text

    def environment(self, service: str, addresses: dict[str, str] | None = None) -> dict[str, str]:
        said = self.services[service].get("environment") or {}
        return {"PATH": os.environ["PATH"]} | {name: self.place(service, value, addresses) for name, value in said.items()}

    def command(self, service: str, addresses: dict[str, str] | None = None) -> list[str]:
        said = self.services[service]
        words = [*(said.get("entrypoint") or ["/usr/local/bin/detector"]), *said.get("command", [])]
        return [self.place(service, word, addresses) for word in words]

    def run(self, what: str, command: list[str], environment: dict[str, str], good: int = 0) -> str:
        try:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True, start_new_session=True)
        except OSError as error:
            raise Wrong(f"{what}: cannot be started: {error}") from error
        try:
            said, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            # With all that it started: what still produces would be taken for the next part's.
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            raise Wrong(f"{what}: does not end: {said[-500:]}") from error
        must(process.returncode == good, f"{what}: exit code {process.returncode}: {said.strip()[-800:]}")
        return said

    def part(self, name: str) -> list[str]:
        try:
            getattr(self, name)()
        except Wrong as wrong:
            return [str(wrong)]
        return []

    # The parts: each can be run alone

    def configuration(self) -> None:
        """`detector check` as each container and the unit would run it."""
        self.token()
        for name, service in self.services.items():
            words = self.command(name)
            if service["image"].startswith("detector:") and words[1:2] == ["run"]:
                self.run(f"docker-compose.yml: {name}: detector check", [words[0], "check", *words[2:]], self.environment(name))
        start = self.unit()
        self.run("deploy/detector.service: detector check", [start[0], "check", *start[2:]], self.unit_environment(""))
        # What is commented out is used one day: with a password of all sorts of characters, as the unit's file has it.
        shown = (self.root / "deploy/detector.toml").read_text()
        head, mark, rest = shown.partition("# [kafka.security]")
        must(mark, "deploy/detector.toml: the example of [kafka.security] is gone")
        section, gap, rest = (mark + rest).partition("\n\n")
        folder = self.volume("unit")
        (folder / "detector.toml").write_text(head + re.sub(r"(?m)^# ", "", section) + gap + rest)
        environment = self.unit_environment(f"KAFKA_PASSWORD={quoted(PASSWORD)}\n")
        must(environment["KAFKA_PASSWORD"] == PASSWORD, f"an environment file is read as {environment['KAFKA_PASSWORD']!r}")
        self.run("deploy/detector.toml: its [kafka.security], uncommented: detector check",
                 [start[0], "check", "--config", str(folder)], environment)

    def manifests(self) -> None:
        """The image's first layer of dependencies: whether Cargo takes the manifests beside the empty sources."""
        text = (self.root / "Dockerfile").read_text().replace("\\\n", " ")
        layer = re.search(r"^RUN (for crate in .*?) && cargo build", text, re.M)
        must(layer, "Dockerfile: the layer of dependencies is gone")
        folder = self.volume("src")
        for sources, target in re.findall(r"^COPY (?!--)(.*Cargo\.\S+) (\S+)$", text[:layer.start()], re.M):
            (folder / target).mkdir(parents=True, exist_ok=True)
            for source in sources.split():
                shutil.copy(ROOT / source, folder / target)
        self.run("Dockerfile: empty sources", ["sh", "-ec", f"cd '{folder}' && {layer.group(1)}"], dict(os.environ))
        said = self.run("Dockerfile: manifests with empty sources: cargo metadata", [
            "cargo", "metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path", str(folder / "Cargo.toml")],
            dict(os.environ))
        # What a manifest names and has no file for is left out here, and ends a build.
        for package in json.loads(said)["packages"]:
            manifest = tomllib.loads(Path(package["manifest_path"]).read_text())
            found = {target["name"] for target in package["targets"]}
            for kind in ("bin", "test", "bench", "example"):
                for target in manifest.get(kind, []):
                    must(target["name"] in found, f"Dockerfile: no empty source for the {kind} {target['name']} of {package['name']}")

    def token(self) -> None:
        """The container `token`: once, whole, and for its owner."""
        for service, mounts in ((n, s.get("volumes", [])) for n, s in self.services.items()):
            if not any("make-token" in str(m) for m in mounts):
                continue
            command = self.command(service)
            file = Path(command[-1])
            file.unlink(missing_ok=True)
            self.run(f"docker-compose.yml: {service}", command, self.environment(service))
            made = file.read_text() if file.exists() else ""
            must(re.fullmatch(r"[0-9a-f]{64}", made), f"deploy/make-token: {made!r} is no token of 64 hexadecimal digits")
            must(stat.S_IMODE(file.stat().st_mode) == 0o600, f"deploy/make-token: the token's mode is {stat.S_IMODE(file.stat().st_mode):o}")
            self.run(f"docker-compose.yml: {service}", command, self.environment(service))
            must(file.read_text() == made, "deploy/make-token: the second start makes another token")
            return
        raise Wrong("docker-compose.yml: no container makes the token")

    def topics(self) -> None:
        """The container `topics`: twice, since it runs at each start."""
        with contextlib.suppress(KafkaError), Kafka(self.bootstrap) as kafka:
            kafka.delete_topics([name for name in kafka.metadata(None)[1] if not name.startswith("__")])
        for _ in range(2):
            self.run("docker-compose.yml: topics", self.command("topics", self.addresses), self.tools("topics"))
        listed = [line.split() for line in (self.root / "deploy/topics").read_text().splitlines() if line and not line.startswith("#")]
        with Kafka(self.bootstrap) as kafka:
            made = {name: len(partitions) for name, (_, partitions) in kafka.metadata(None)[1].items() if not name.startswith("__")}
        wanted = {words[0]: int(words[1]) for words in listed}
        must(made == wanted, f"deploy/create-topics made {made}, deploy/topics has {wanted}")

    def source(self) -> None:
        """The containers `simulate` and `source`, after `topics`: what is written arrives, keyed by account."""
        self.topics()
        self.run("docker-compose.yml: simulate", self.command("simulate"), self.environment("simulate"))
        self.run("docker-compose.yml: source", self.command("source", self.addresses), self.tools("source"))
        with Kafka(self.bootstrap) as kafka:
            kafka.metadata(["events", "labels"])
            arrived = {topic: sum(kafka.offsets(topic, -1).values()) for topic in ("events", "labels")}
        stream = self.volume("stream")
        sent = {topic: len((stream / f"{topic}.ndjson").read_text().splitlines()) for topic in arrived}
        must(arrived == sent, f"deploy/source: {sent} lines were written, {arrived} arrived")
        read = self.run("scripts/topics", [str(ROOT / "scripts/topics"), "--bootstrap", self.bootstrap, "read", "events", "-n", "100"],
                        dict(os.environ))
        messages = [json.loads(line) for line in read.splitlines()]
        must(messages and all(isinstance(m["value"], dict) and m["key"] == m["value"].get("account") for m in messages), "deploy/source: messages are not keyed by account")

    def redis(self) -> None:
        """The command of the container `redis`, and its health check."""
        with self.redis_server():
            pass

    def health(self) -> None:
        """Health checks say no to what is not there, and to what is something else."""
        kafka = self.health_of("kafka", self.addresses)
        self.run("deploy/healthcheck-kafka", kafka, dict(os.environ))
        closed, other = free_port(), int(self.stack["REDIS_URL"].rpartition(":")[2])
        with answering() as web:
            for port, what in ((closed, "a closed port"), (other, "Redis"), (web, "HTTP")):
                words = [*kafka[:-1], str(port)]
                must(subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE_S).returncode,
                     f"deploy/healthcheck-kafka is content with {what}")
        check = str(self.paths["/usr/local/bin/healthcheck"])
        must(subprocess.run([check, str(closed)], stderr=subprocess.DEVNULL).returncode, "deploy/healthcheck is content with a closed port")
        with answering() as port:
            for path, good in (("/200", True), ("/503", False), ("/404", False)):
                content = subprocess.run([check, str(port), path], stderr=subprocess.DEVNULL, timeout=PATIENCE_S).returncode == 0
                must(content == good, f"deploy/healthcheck is {'content' if content else 'not content'} with {path[1:]}")

    def service(self) -> None:
        """The detector as in its container, then as in the unit: ready, healthy, actions out, a tidy end; 2 for what it refuses."""
        self.source()
        self.token()
        with self.redis_server() as redis:
            addresses = self.addresses | {"redis:6379": redis, "localhost:6379": redis, "127.0.0.1:6379": redis}
            port = self.services["detector"]["environment"]["DETECTOR__HTTP__LISTEN"].rpartition(":")[2]
            here = free_port()
            environment = self.environment("detector", addresses | {f":{port}": f":{here}"})
            with self.running("docker-compose.yml: detector", self.command("detector", addresses), environment, here) as log:
                lines = len((self.volume("stream") / "events.ndjson").read_text().splitlines())
                self.until("docker-compose.yml: detector: all events", log,
                           lambda: f"\ndetector_events_total {lines}\n" in self.metrics(here))
                said = log.read_text()
                must("topic_time_set_by_producers" not in said, "deploy/topics: the detector warns that producers set the time of messages")
            with Kafka(self.bootstrap) as kafka:
                kafka.metadata(["actions"])
                must(sum(kafka.offsets("actions", -1).values()) > 0, "docker-compose.yml: detector: no action came of the simulated platform")

            start, here = self.unit(), free_port()
            environment = self.unit_environment("") | {
                "DETECTOR__KAFKA__BOOTSTRAP": self.bootstrap,
                "DETECTOR__REDIS__URL": f"redis://{redis}",
                "DETECTOR__HTTP__LISTEN": f"127.0.0.1:{here}",
            }
            with self.running("deploy/detector.service", start, environment, here):
                pass
        never = re.search(r"^RestartPreventExitStatus=(\d+)$", (self.root / "deploy/detector.service").read_text(), re.M)
        must(never, "deploy/detector.service: RestartPreventExitStatus= is missing")
        self.run("deploy/detector.service: what a refused configuration ends with", start,
                 environment | {"DETECTOR__KAFKA__GROUPS": "x"}, good=int(never.group(1)))

    # Their pieces

    @property
    def bootstrap(self) -> str:
        return self.stack["KAFKA_BOOTSTRAP"]

    @property
    def addresses(self) -> dict[str, str]:
        return {"kafka:19092": self.bootstrap}

    def tools(self, service: str) -> dict[str, str]:
        """The environment of a container with Kafka's tools: each a script around the jars of scripts/stack."""
        environment = self.environment(service)
        for variable, name in TOOLS.items():
            script = self.folder / name
            if not script.exists():
                jars = ":".join(f"{said.rpartition(' in ')[2].strip()}/*" for said in (
                    subprocess.run([str(ROOT / "scripts/stack"), "jars", *more], stdout=subprocess.PIPE, text=True, check=True).stdout
                    for more in ([], ["--tools"])))
                script.write_text(f"#!/bin/sh\nexec java $KAFKA_HEAP_OPTS -XX:TieredStopAtLevel=1 -cp '{jars}' org.apache.kafka.tools.{name} \"$@\"\n")
                script.chmod(0o755)
            environment[variable] = str(script)
        return environment

    def health_of(self, service: str, addresses: dict[str, str]) -> list[str]:
        """A container's health check as a command here."""
        how, *words = self.services[service]["healthcheck"]["test"]
        words = [self.place(service, word, addresses) for word in words]
        if how == "CMD-SHELL":
            return ["sh", "-c", words[0]]
        host, _, port = self.bootstrap.rpartition(":")
        return [{"kafka": host, "19092": port}.get(word, word) for word in words]

    @contextlib.contextmanager
    def redis_server(self):
        """A Redis by the command of its container; its address."""
        port, data = free_port(), Path(tempfile.mkdtemp(dir=self.folder))
        command = [*self.command("redis")[1:], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
        what, log = "docker-compose.yml: redis", data / "log"
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        check = self.health_of("redis", {"redis-cli": f"redis-cli -p {port}"})
        try:
            self.until(what, log, lambda: subprocess.run(check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()

    def unit(self) -> list[str]:
        """ExecStart= of the unit; files are where the comment about its installation puts them."""
        text = (self.root / "deploy/detector.service").read_text()
        start = re.search(r"^ExecStart=(.*)$", text, re.M)
        must(start, "deploy/detector.service: ExecStart= is missing")
        places = {target: source for source, target in re.findall(r"install -m\d+ (deploy/\S+) (/\S+)", text)}
        words = [str(self.root / places[w]) if w in places else w for w in shlex.split(start.group(1))]
        must(words[0] == "/usr/local/bin/detector" and words[1:2] == ["run"], f"deploy/detector.service: ExecStart= is {start.group(1)}")
        must(all(Path(w).exists() for w in words[2:] if w.startswith("/")), f"deploy/detector.service: nothing installs what {start.group(1)} names")
        return [str(self.detector), *words[1:]]

    def unit_environment(self, more: str) -> dict[str, str]:
        """What the unit's environment is with the shipped file, as it is and with all of it in use."""
        shipped = (self.root / "deploy/environment").read_text()
        used = environment_file(re.sub(r"(?m)^#(?! )", "", shipped))
        must(used, "deploy/environment: it shows no variable")
        must(not any("\n" in value for value in used.values()), "deploy/environment: a quote is not closed in its line")
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | environment_file(shipped + more)

    def metrics(self, port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def until(self, what: str, log: Path, good, process: subprocess.Popen | None = None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if good():
                    return
            must(process is None or process.poll() is None,
                 f"{what}: ended with {process and process.returncode}: {log.read_text(errors='replace')[-800:]}")
            time.sleep(0.1)
        raise Wrong(f"{what}: not within {PATIENCE_S} s: {log.read_text(errors='replace')[-800:]}")

    @contextlib.contextmanager
    def running(self, what: str, command: list[str], environment: dict[str, str], port: int):
        """A service from its start to its tidy end; its log."""
        log = Path(tempfile.mkdtemp(dir=self.folder)) / "log"
        with open(log, "wb") as out:
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        check = str(self.paths.get("/usr/local/bin/healthcheck", ""))
        try:
            for path in ("/healthz", "/readyz"):
                self.until(f"{what}: {path}", log, process=process, good=lambda: subprocess.run(
                    [check, str(port), path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)
            yield log
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                code = "nothing"
            must(code == 0, f"{what}: SIGTERM ends it with {code}: {log.read_text(errors='replace')[-800:]}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


PARTS = ["manifests", "configuration", "token", "redis", "health", "service"]


@contextlib.contextmanager
def stack():
    """A Kafka and a Redis for this run; their addresses, and a folder."""
    with tempfile.TemporaryDirectory(prefix="check-deploy-") as name:
        folder = Path(name)
        command = [str(ROOT / "scripts/stack"), "--dir", str(folder / "stack")]
        done = subprocess.run([*command, "up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            if done.returncode:
                raise NoStack(f"scripts/stack up: {done.stdout.strip()[-800:]}")
            lines = (folder / "stack/env").read_text().splitlines()
            yield dict(line.split("=", 1) for line in lines), folder
        finally:
            subprocess.run([*command, "down", "--wipe"], stdout=subprocess.DEVNULL)
            shutil.rmtree(folder / "volumes", ignore_errors=True)
