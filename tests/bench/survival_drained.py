"""Every pair of versions that a plain swap refuses, crossed by draining: half way, and under load.

LIBSWAP_BENCH_LIBRARIES="zlib expat" takes these alone.
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

from libswap.live.module import LibraryCache
from libswap.operations.survival import Verdict, survival
from libswap.operations.survival.nameless import finder
from support.crossing import Crossing, End, held, loaded
from support.versions import FRESH, HELD, REAL, Real, Version
from tests.bench.survival import FURTHEST, GOOD, builds

FURTHER: Final = (
    Real("nghttp2_options", ("libnghttp2-14",), "libnghttp2.so.14.*"),
    Real("gcrypt_handles", ("libgcrypt20",), "libgcrypt.so.20.*"),
    Real("brotli_decoder", ("libbrotli1",), "libbrotlidec.so.1.*"),
    Real("event_loop", ("libevent-2.1-7", "libevent-2.1-7t64"), "libevent-2.1.so.7.*"),
    Real("speexdsp_apart", ("libspeexdsp1",), "libspeexdsp.so.1.*"),
    Real("archive_reader", ("libarchive13", "libarchive13t64"), "libarchive.so.13.*"),
)
"""Other drivers for some of these packages."""
_CELL: Final = 150


@dataclass(frozen=True, slots=True)
class Crossed:
    """One pair of versions that a plain swap refuses, or asks about."""

    library: str
    old: Version
    new: Version
    verdict: Verdict
    held: Crossing
    loaded: Crossing

    @property
    def ends(self) -> set[End]:
        return {self.held.end, self.loaded.end}


@dataclass(frozen=True, slots=True)
class Passage:
    """Every pair, as a table."""

    title: str
    pairs: tuple[Crossed, ...]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _about(self.pairs), ""]
        lines += ["| library | old | new | verdict | half way | under load | rounds | wrong |"]
        lines += ["|---|---|---|---|---|---|--:|--:|"]
        lines += [_line(p) for p in self.pairs]
        return "\n".join(lines) + "\n"


def _about(pairs: tuple[Crossed, ...]) -> str:
    cases = [p for p in pairs if End.UNUSABLE not in p.ends]
    counts = Counter(
        "crossed" if p.ends == {End.CROSSED} else "refused" if End.REFUSED in p.ends else "not"
        for p in cases
    )
    rounds = sum(sum(p.loaded.rounds) for p in cases)
    wrong = sum(End.WRONG in p.ends for p in cases)
    return (
        f"{len(cases)} pairs of {len({p.library for p in cases})} drivers whose verdict is unsafe"
        " or unknown, so that a plain swap is refused or asks first. *Half way*: a process makes"
        " objects with the old version and begins to use them; the drain begins; they are used"
        " and destroyed, others are made, used and destroyed; the drain is settled. *Under load*:"
        " two threads do all of that again and again at full speed, and the drain begins and"
        " settles while they do; *rounds* are those before, during and after it. Every byte is"
        " checked, on a checked heap, and the process ends by itself. Of the pairs"
        f" {counts['crossed']} were crossed in both ways, {counts['refused']} are refused,"
        f" {counts['not']} were not crossed; {wrong} with a wrong answer, in {rounds:,} rounds."
    )


def _line(pair: Crossed) -> str:
    rounds = " + ".join(f"{n}" for n in pair.loaded.rounds)
    cells = (
        pair.library, pair.old.version, pair.new.version, pair.verdict.value,
        _cell(pair.held), _cell(pair.loaded), rounds, str(int(End.WRONG in pair.ends)),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _cell(crossing: Crossing) -> str:
    return f"{crossing.end.value}: {crossing.told}".replace("|", "/")[:_CELL]


def run() -> tuple[Passage, ...]:
    return (Passage("Every pair that is refused without draining", tuple(crossed(_wanted()))),)


def _wanted() -> list[Real]:
    every = (*REAL, *HELD, *FRESH, *FURTHER)
    names = os.environ.get("LIBSWAP_BENCH_LIBRARIES", "").split()
    if unknown := set(names) - {real.name for real in every}:
        raise SystemExit(f"no such driver: {', '.join(sorted(unknown))}")
    return [real for real in every if not names or real.name in names]


def crossed(reals: list[Real]) -> Iterator[Crossed]:
    """The pairs of neighbours, and of those with one version between them, that are doubted."""
    for real, ones in builds(reals):
        for (i, old), (j, new) in combinations(enumerate(ones), 2):
            if j - i > FURTHEST:
                continue
            verdict = _verdict(old, new)
            if verdict not in GOOD:
                yield _crossed(real, old, new, verdict)


def _verdict(old: Version, new: Version) -> Verdict:
    cache = LibraryCache(finder=finder())
    return survival(cache.open(str(old.path)), cache.open(str(new.path))).verdict


def _crossed(real: Real, old: Version, new: Version, verdict: Verdict) -> Crossed:
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as work:
        ways = [way(real.name, old.path, new.path, Path(work)) for way in (held, loaded)]
    found = Crossed(real.name, old, new, verdict, *ways)
    sys.stderr.write(f"{_line(found)}\n")
    return found
