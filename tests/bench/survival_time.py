"""How long the verdict on live objects takes, for libraries of several sizes."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable  # noqa: TC003
from pathlib import Path
from typing import Final

from libswap.elf.image import Image
from libswap.linux.scheduling import without_collection
from libswap.live.module import LibraryCache
from libswap.operations.survival import survival
from libswap.operations.survival.nameless import finder
from libswap.survival.examination import examine
from libswap.survival.sources import Source, read_once
from support.debian import Debian, cache_dir
from support.versions import HELD, REAL, Real, Version, versions
from tests.bench.section import Section, side_by_side

_LIBRARIES: Final = ("zlib", "expat", "zstd", "sqlite3", "crypto")
_ROUNDS: Final = 3
_FAILED: Final = 3
"""Bits of abidiff's exit code: an error, a wrong usage."""
_ABOUT: Final = (
    "On one processor, with nothing kept from before. *Its objects*: the machine code of two builds"
    " compared. *With its data*: data without names paired too, as `check --live` does."
    " *Kept*: the second time, out of the state directory."
)


def run() -> tuple[Section, ...]:
    debian = Debian(cache_dir())
    chosen = [real for name in _LIBRARIES for real in (*REAL, *HELD) if real.name == name]
    return tuple(_section(debian, real) for real in chosen)


def _section(debian: Debian, real: Real) -> Section:
    old, new = _nearest(tuple(versions(debian, real)))
    size = old.path.stat().st_size / 1e6
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as kept:
        state = Path(kept)
        _judge(old, new, state)
        acts: dict[str, Callable[[], object]] = {}
        if shutil.which("abidiff"):
            acts["abidiff: symbols, as there is no debug information"] = lambda: _abidiff(old, new)
        acts["its objects"] = lambda: _examine(old, new)
        acts["with its data"] = lambda: _judge(old, new, None)
        acts["kept"] = lambda: _judge(old, new, state)
        rows = side_by_side(acts, rounds=_ROUNDS)
    title = f"{real.name}, {size:.1f} MB: {old.version} → {new.version}"
    return Section(title, _ABOUT, rows)


def _nearest(builds: tuple[Version, ...]) -> tuple[Version, Version]:
    assert len(builds) > 1, "there is only one build of it here"
    old, new = sorted(builds, key=lambda b: [int(n) for n in re.findall(r"\d+", b.version)])[-2:]
    return old, new


def _examine(old: Version, new: Version) -> None:
    with without_collection():
        examine(*map(_source, (old, new)), seconds=60)


def _source(version: Version) -> Source:
    return Source(Image.open(version.path))


def _judge(old: Version, new: Version, state: Path | None) -> None:
    with read_once():
        cache = LibraryCache(finder=finder(state))
        survival(cache.open(str(old.path)), cache.open(str(new.path)), state)


def _abidiff(old: Version, new: Version) -> None:
    done = subprocess.run(["abidiff", old.path, new.path], capture_output=True, check=False)
    assert not done.returncode & _FAILED, done.stderr.decode()
