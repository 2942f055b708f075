"""Stand-ins for the images that Dockerfile and docker-compose.yml name, for a machine that reaches no registry of images.

They are made of Debian 13 (debootstrap), this machine's Rust toolchain, Debian's Redis, and the Kafka jars of scripts/stack: users,
paths, volumes and entrypoints are those of the real ones, versions of Redis and Java are Debian's. Recipes are in scripts/stand-in.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "scripts/stand-in"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector-stack"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# Of a toolchain, what a build in a container has no use for.
LEFT_OUT = ["share", "lib/rustlib/src", "bin/*clippy*", "bin/*fmt*", "bin/rust-analyzer", "bin/*miri*"]


class Failure(Exception):
    """What was found, and what to do."""


def run(*words: object, **more) -> str:
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        raise Failure(f"`{' '.join(map(str, words[:4]))} ...` failed:\n{done.stdout[-3000:]}")
    return done.stdout


def names() -> dict[str, str]:
    """The images by what they are for: `build` and `run` of the Dockerfile, `kafka` and `redis` of docker-compose.yml."""
    dockerfile, compose = (ROOT / "Dockerfile").read_text(), (ROOT / "docker-compose.yml").read_text()
    found = {
        "build": re.search(r"^ARG BUILD_IMAGE=(\S+)", dockerfile, re.M),
        "run": re.search(r"^ARG RUN_IMAGE=(\S+)", dockerfile, re.M),
        "kafka": re.search(r"^\s*image: (apache/kafka:\S+)", compose, re.M),
        "redis": re.search(r"^\s*image: (redis:\S+)", compose, re.M),
    }
    return {use: match.group(1) for use, match in found.items()}


def make(environment: dict[str, str]) -> dict[str, str]:
    """Makes them in the engine that `environment` names; the names of the stand-ins by what they are for."""
    tag = {use: f"stand-in/{use}:1" for use in ("build", "run", "kafka", "redis")}
    base = debian()
    run("docker", "import", "-c", 'CMD ["bash"]', base, tag["run"], env=environment)
    with tempfile.TemporaryDirectory() as folder:
        rust, redis, kafka = (Path(folder) / name for name in ("rust", "redis", "kafka"))
        for target in (rust, redis, kafka):
            shutil.copytree(RECIPES / target.name, target)
        toolchain(rust)
        crates(rust)
        (kafka / "libs").mkdir()
        for which in ([], ["--tools"]):
            shutil.copytree(jars(which), kafka / "libs", dirs_exist_ok=True)
        for use, target in (("redis", redis), ("kafka", kafka), ("build", rust)):
            # The older builder is part of every engine.
            run("docker", "build", "-q", "-t", tag[use], "--build-arg", f"BASE={tag['run']}", target,
                env=environment | {"DOCKER_BUILDKIT": "0"})
    return tag


def debian() -> Path:
    """A minimal Debian as an archive; kept."""
    archive = CACHE / f"debian-{SUITE}.tar"
    if archive.exists():
        return archive
    if not shutil.which("debootstrap"):
        raise Failure("debootstrap is missing; run: apt-get install -y --no-install-recommends debootstrap")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        run("debootstrap", "--variant=minbase", SUITE, Path(folder) / "root", MIRROR)
        run("tar", "-C", Path(folder) / "root", "-cf", f"{archive}.part", ".")
    Path(f"{archive}.part").rename(archive)  # whole or not at all
    return archive


def toolchain(target: Path) -> None:
    """The toolchain that builds here, and its pinned version."""
    source = Path(run("rustc", "--print", "sysroot", cwd=ROOT).strip())
    out = [f"--exclude=./{path}" for path in LEFT_OUT]
    (target / "toolchain").mkdir()
    packed = subprocess.Popen(["tar", "-C", source, *out, "-c", "."], stdout=subprocess.PIPE)
    run("tar", "-C", target / "toolchain", "-x", stdin=packed.stdout)
    if packed.wait():
        raise Failure(f"{source} could not be copied")


def crates(target: Path) -> None:
    """Crates that this machine has fetched; what is missing is fetched in the container."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    (target / "registry").mkdir()
    for part in ("cache", "index"):
        if (home / "registry" / part).is_dir():
            shutil.copytree(home / "registry" / part, target / "registry" / part)
    (target / "ca-certificates.crt").write_bytes(AUTHORITIES.read_bytes() if AUTHORITIES.exists() else b"")


def jars(which: list[str]) -> Path:
    said = run(ROOT / "scripts/stack", "jars", *which)
    return Path(said.strip().splitlines()[-1].rpartition(" in ")[2])
