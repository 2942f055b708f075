"""Security advisories against locked versions: version ranges, the offline copy, and its renewal; see scripts/advisories.

`python3 -m doctest scripts/advisory_check.py` runs the examples below; scripts/test does.
"""

import datetime
import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

SOURCE = "RustSec advisory-db (CC0-1.0; an advisory with `license` has that one)"
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
NOTES = {"unmaintained", "notice"}
STALE_DAYS = 90
LINE_MAX = 120


# ---- versions and ranges


class Version(NamedTuple):
    """A version of Semantic Versioning 2.0.0; tuples compare by precedence. Build metadata is dropped: it has none."""

    major: int
    minor: int
    patch: int
    pre: tuple = (1,)  # (1,) for a release, which is above its pre-releases: (0, identifiers)

    @property
    def is_release(self) -> bool:
        return self.pre == (1,)

    @property
    def release(self) -> tuple[int, int, int]:
        return self[:3]


def pre_release(text: str | None) -> tuple:
    """Numbers compare as numbers and are below words."""
    if text is None:
        return (1,)
    return (0, tuple((0, int(i), "") if i.isdigit() else (1, 0, i) for i in text.split(".")))


VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def version(text: str) -> Version:
    """
    >>> ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.10.0"
    >>> [version(v) for v in ordered.split()] == sorted(version(v) for v in reversed(ordered.split()))
    True
    >>> version("300.6.1+3.6.3") == version("300.6.1")
    True
    >>> version("1.2")
    Traceback (most recent call last):
    ValueError: '1.2' is no version
    """
    found = VERSION.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no version")
    major, minor, patch, pre = found.groups()
    return Version(int(major), int(minor), int(patch), pre_release(pre))


COMPARATOR = re.compile(
    r"(>=|<=|>|<|=|\^|~)?\s*(\d+|\*)(?:\.(\d+|\*))?(?:\.(\d+|\*))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)


def below(v: Version, end: Version) -> bool:
    """Whether a version is below an exclusive end. A pre-release of the end itself is not: 2.0.0-rc.1 is not `< 2.0.0`."""
    return v < end and not (end.is_release and v.release == end.release)


def meets(v: Version, comparator: str) -> bool:
    """Whether a version meets one of Cargo's comparators, which may leave out minor and patch."""
    found = COMPARATOR.fullmatch(comparator.strip())
    if not found:
        raise ValueError(f"{comparator!r} is no range of versions")
    operator, *numbers, pre = found.groups()
    given = [int(n) for n in numbers if n not in (None, "*")]
    if not given:
        return True
    operator = operator or ("=" if "*" in numbers else "^")
    start = Version(*given, *[0] * (3 - len(given)), pre_release(pre))
    # The first version after all those that begin with the numbers given: 1.3.0 for 1.2.
    after = Version(*given[:-1], given[-1] + 1, *[0] * (3 - len(given)))
    if operator == ">=":
        return v >= start
    if operator == "<":
        return below(v, start)
    if operator == ">":
        return v > start if len(given) == 3 else v >= after
    if operator == "<=":
        return v <= start if len(given) == 3 else below(v, after)
    if operator == "=":
        return v == start if len(given) == 3 else v >= start and below(v, after)
    if operator == "~":
        kept = min(len(given), 2)
    else:  # ^: the first number that is not zero stays
        kept = next((i + 1 for i, n in enumerate(given) if n), len(given))
    end = Version(*given[: kept - 1], given[kept - 1] + 1, *[0] * (3 - kept))
    return v >= start and below(v, end)


def matches(v: Version, ranges: list[str]) -> bool:
    """Whether a version is in one of the ranges; a comma inside a range is "and".

    Pre-releases are compared by precedence. Cargo admits one only where the range names a pre-release of the same version; an
    advisory's ranges speak of all versions between two bounds. A pre-release of an exclusive upper bound is outside, so that it
    counts as affected rather than as fixed.

    >>> table = '''
    ... 1.2.3         >= 1.2.3                      yes
    ... 1.2.2         >= 1.2.3                      no
    ... 1.10.0        >= 1.9                        yes
    ... 1.2.3         > 1.2.3                       no
    ... 1.2.4         > 1.2                         no
    ... 1.3.0         > 1.2                         yes
    ... 1.2.3         < 1.2.3                       no
    ... 0.9.9         < 1                           yes
    ... 0.22.4        <= 0.22                       yes
    ... 0.23.0        <= 0.22                       no
    ... 1.2.3         <= 1.2.3                      yes
    ... 1.2.3         = 1.2.3                       yes
    ... 1.2.4         =1.2.3                        no
    ... 1.2.4         = 1.2                         yes
    ... 1.9.0         ^1.2.3                        yes
    ... 2.0.0         ^1.2.3                        no
    ... 0.2.9         ^ 0.2.3                       yes
    ... 0.3.0         ^0.2.3                        no
    ... 0.0.3         ^0.0.3                        yes
    ... 0.0.4         ^0.0.3                        no
    ... 0.0.9         ^0.0                          yes
    ... 0.1.0         ^0.0                          no
    ... 0.9.0         ^0                            yes
    ... 0.13.11       0.13.10                       yes
    ... 0.14.0        0.13.10                       no
    ... 1.2.9         ~1.2.3                        yes
    ... 1.3.0         ~1.2.3                        no
    ... 1.2.0         ~1.2                          yes
    ... 1.9.0         ~1                            yes
    ... 2.0.0         ~1                            no
    ... 1.2.9         1.2.*                         yes
    ... 1.3.0         1.2.*                         no
    ... 7.0.0         *                             yes
    ... 0.9.5         < 0.10.0, >= 0.9.3            yes
    ... 0.10.0        < 0.10.0, >= 0.9.3            no
    ... 0.8.8         >=0.10.1 | <0.9.0, >=0.8.6    yes
    ... 0.9.2         >=0.10.1 | <0.9.0, >=0.8.6    no
    ... 111.8.0+1.1.1f  >= 111.9.0+1.1.1g           no
    ... 300.6.1+3.6.3   >= 111.25, < 300.0 | >= 300.0.12   yes
    ... 1.3.0-rc.1    >= 1.2.3                      yes
    ... 1.2.3-rc.1    >= 1.2.3                      no
    ... 1.2.3-rc.1    < 1.2.3                       no
    ... 1.2.2-rc.1    < 1.2.3                       yes
    ... 2.0.0-rc.1    ^1.2.3                        no
    ... 0.3.0-rc.1    >= 0.2.8, < 0.3.0-rc.1 | >= 0.3.0-rc.2   no
    ... 0.3.0-rc.2    >= 0.2.8, < 0.3.0-rc.1 | >= 0.3.0-rc.2   yes
    ... 0.104.0-alpha.10  >= 0.104.0-alpha.6        yes
    ... '''
    >>> for row in table.strip().splitlines():
    ...     v, ranges, expected = row.split(maxsplit=1)[0], row.split(maxsplit=1)[1].rsplit(maxsplit=1)[0], row.split()[-1]
    ...     if matches(version(v), ranges.split("|")) != (expected == "yes"):
    ...         print(f"{v} in {ranges}: not {expected}")
    >>> matches(version("1.0.0"), [])
    False
    >>> matches(version("1.0.0"), ["above 1"])
    Traceback (most recent call last):
    ValueError: 'above 1' is no range of versions
    """
    return any(all(meets(v, comparator) for comparator in r.split(",")) for r in ranges)


# ---- advisories


def applies(advisory: dict, v: Version) -> bool:
    """
    >>> a = {"patched": [">= 0.10.1", "< 0.10.0, >= 0.9.3"], "unaffected": ["< 0.7.0"]}
    >>> [applies(a, version(v)) for v in ["0.6.5", "0.7.0", "0.9.2", "0.9.3", "0.10.0", "0.10.0-rc.1", "0.10.1"]]
    [False, True, True, False, True, True, False]
    >>> applies(a | {"withdrawn": "2026-01-02"}, version("0.9.2"))
    False
    >>> applies({"patched": []}, version("0.9.2"))
    True
    """
    if "withdrawn" in advisory:
        return False
    return not matches(v, advisory["patched"] + advisory.get("unaffected", []))


def fails(advisory: dict) -> bool:
    """Whether an advisory that applies is more than a note: a vulnerability, or `unsound`."""
    return advisory.get("informational") not in NOTES


def what_to_do(advisory: dict, v: str) -> str:
    """
    >>> what_to_do({"package": "rand", "patched": [">= 0.10.1", "< 0.10.0, >= 0.9.3"]}, "0.9.2")
    'fixed in >= 0.10.1 or < 0.10.0, >= 0.9.3; run: cargo update -p rand@0.9.2, or raise what needs it in Cargo.toml'
    >>> what_to_do({"package": "ring", "patched": [], "unaffected": [">= 0.17"], "informational": "unmaintained"}, "0.16.20")
    'not affected: >= 0.17; run: cargo update -p ring@0.16.20, or raise what needs it in Cargo.toml'
    >>> what_to_do({"package": "spin", "patched": [], "informational": "unmaintained"}, "0.9.9")
    'no version is better; take another crate'
    >>> what_to_do({"package": "a", "patched": []}, "1.0.0")
    'no version is better; take another crate, or give a reason in deny.toml, [advisories] ignore'
    """
    run = f"run: cargo update -p {advisory['package']}@{v}, or raise what needs it in Cargo.toml"
    if advisory["patched"]:
        return f"fixed in {' or '.join(advisory['patched'])}; {run}"
    if advisory.get("unaffected"):
        return f"not affected: {' or '.join(advisory['unaffected'])}; {run}"
    reason = ", or give a reason in deny.toml, [advisories] ignore" if fails(advisory) else ""
    return f"no version is better; take another crate{reason}"


def ignored(deny: dict) -> dict[str, str]:
    """Identifiers and reasons of `[advisories] ignore`, in the form that cargo-deny reads. Entries
    that name a crate concern yanked versions.

    >>> ignored({"advisories": {"ignore": [{"id": "RUSTSEC-2026-0001", "reason": "not called"}, {"crate": "a@1.0.0"}]}})
    {'RUSTSEC-2026-0001': 'not called'}
    >>> ignored({"advisories": {"ignore": ["RUSTSEC-2026-0001"]}})
    Traceback (most recent call last):
    ValueError: RUSTSEC-2026-0001 is ignored without a reason; write { id = "RUSTSEC-2026-0001", reason = "..." }
    """
    reasons = {}
    for entry in deny.get("advisories", {}).get("ignore", []):
        name = entry if isinstance(entry, str) else entry.get("id", "")
        if not name.startswith("RUSTSEC-"):
            continue
        reason = "" if isinstance(entry, str) else entry.get("reason", "").strip()
        if not reason:
            raise ValueError(f'{name} is ignored without a reason; write {{ id = "{name}", reason = "..." }}')
        reasons[name] = reason
    return reasons


def read_toml(path: Path) -> dict:
    with open(path, "rb") as f:
        return tomllib.load(f)


def locked(lock: Path) -> list[tuple[str, str]]:
    """Names and versions of all packages from crates.io in a Cargo.lock."""
    packages = read_toml(lock)["package"]
    return sorted((p["name"], p["version"]) for p in packages if p.get("source") == CRATES_IO)


def check(packages: list[tuple[str, str]], copy: dict, reasons: dict[str, str]) -> dict:
    """All that is to be said about locked packages, in the form that `scripts/advisories --json` prints.

    >>> old = {"id": "RUSTSEC-2026-0002", "package": "a", "date": "2026-01-02", "title": "Crash", "patched": [">= 1.2.0"]}
    >>> copy = {"newest": "2026-01-02", "copied": "2026-01-03", "looked_up": ["a"], "advisories": [old]}
    >>> found = check([("a", "1.1.0"), ("a", "1.2.0"), ("b", "1.0.0")], copy, {})
    >>> [(f["package"], f["version"], f["kind"], f["fails"]) for f in found["advisories"]], found["never_looked_up"]
    ([('a', '1.1.0', 'vulnerability', True)], ['b'])
    >>> found = check([("a", "1.1.0")], copy, {"RUSTSEC-2026-0002": "not called", "RUSTSEC-2020-0001": "gone"})
    >>> [(f["fails"], f["ignored"]) for f in found["advisories"]], found["unused_ignores"]
    ([(False, 'not called')], ['RUSTSEC-2020-0001'])
    """
    of: dict[str, list[dict]] = {}
    for advisory in copy["advisories"]:
        of.setdefault(advisory["package"], []).append(advisory)
    found = []
    for name, v in packages:
        for advisory in of.get(name, []):
            if applies(advisory, version(v)):
                found.append({
                    "id": advisory["id"], "package": name, "version": v, "date": advisory["date"],
                    "title": advisory["title"], "kind": advisory.get("informational", "vulnerability"),
                    "fails": fails(advisory) and advisory["id"] not in reasons, "ignored": reasons.get(advisory["id"]),
                    "what_to_do": what_to_do(advisory, v), "url": f"https://rustsec.org/advisories/{advisory['id']}",
                })
    return {
        "newest": copy["newest"], "copied": copy["copied"], "packages": len(packages), "advisories": found,
        "never_looked_up": sorted({name for name, _ in packages} - set(copy["looked_up"])),
        "unused_ignores": sorted(set(reasons) - {f["id"] for f in found}),
    }


# ---- the offline copy


def advisory_of(text: str) -> dict:
    """What is kept of an advisory's file: a block of TOML, then a title.

    >>> text = '''```toml
    ... [advisory]
    ... id = "RUSTSEC-2026-0002"
    ... package = "a"
    ... date = "2026-01-02"
    ... informational = "unsound"
    ... [versions]
    ... patched = [">= 1.2.0"]
    ... unaffected = []
    ... ```
    ...
    ... # `f` reads too far
    ...
    ... More.
    ... '''
    >>> advisory_of(text) == {"id": "RUSTSEC-2026-0002", "package": "a", "date": "2026-01-02", "title": "`f` reads too far",
    ...                       "patched": [">= 1.2.0"], "informational": "unsound"}
    True
    """
    head, _, rest = text.partition("```toml\n")[2].partition("\n```")
    data = tomllib.loads(head)
    given, versions = data["advisory"], data.get("versions", {})
    title = next((line[2:].strip() for line in rest.splitlines() if line.startswith("# ")), "")
    kept = {"id": given["id"], "package": given["package"], "date": str(given["date"]), "title": title}
    kept["patched"] = versions.get("patched", [])
    if versions.get("unaffected"):
        kept["unaffected"] = versions["unaffected"]
    for key in ("informational", "withdrawn", "license"):
        if key in given:
            kept[key] = str(given[key])
    if "license" in kept and "url" in given:
        kept["url"] = given["url"]  # to be named with it
    return kept


def renewed(database: Path, names: set[str], today: datetime.date) -> dict:
    """A new copy, for the packages of these names, from a checkout of the database."""
    files = sorted((database / "crates").glob("*/RUSTSEC-[1-9]*.md"))
    if not files:
        raise ValueError(f"{database} has no advisories; it is to be a checkout of https://github.com/rustsec/advisory-db")
    everything = [advisory_of(f.read_text(encoding="utf-8")) for f in files]
    return {
        "newest": max(a["date"] for a in everything), "copied": today.isoformat(), "looked_up": sorted(names),
        "advisories": [a for a in everything if a["package"] in names],
    }


def written(copy: dict) -> str:
    """The file of a copy: an advisory is one line, so that a difference can be read.

    >>> a = {"id": "RUSTSEC-2026-0002", "package": "a", "date": "2026-01-02", "title": "Crash", "patched": []}
    >>> copy = {"newest": "2026-01-02", "copied": "2026-01-03", "looked_up": ["a", "b"], "advisories": [a]}
    >>> json.loads(written(copy)) == {"source": SOURCE} | copy
    True
    """
    head = {"source": SOURCE, "newest": copy["newest"], "copied": copy["copied"]}
    lines = ["{"] + [f'  "{key}": {json.dumps(value)},' for key, value in head.items()]
    lines.append('  "looked_up": [')
    line = "   "
    for i, name in enumerate(copy["looked_up"]):
        word = f' "{name}"' + ("," if i + 1 < len(copy["looked_up"]) else "")
        if len(line) + len(word) > LINE_MAX:
            lines.append(line)
            line = "   "
        line += word
    lines += [line, "  ],", '  "advisories": [']
    ordered = sorted(copy["advisories"], key=lambda a: (a["package"], a["id"]))
    lines.append(",\n".join("    " + json.dumps(a, ensure_ascii=False) for a in ordered))
    return "\n".join(lines + ["  ]", "}"]) + "\n"


def read(path: Path) -> dict:
    with open(path, encoding="utf-8") as f:
        return json.load(f)
