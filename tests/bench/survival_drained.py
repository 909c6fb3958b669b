"""Every pair of versions that a plain swap refuses, by draining: half way, and under load."""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Final

from libswap.live.module import LibraryCache
from libswap.operations.survival import Verdict, survival
from libswap.operations.survival.nameless import finder
from support.crossing import Crossing, End, held, loaded
from support.versions import BLIND, FRESH, HELD, REAL, Real, Version
from tests.bench.survival import FURTHEST, GOOD, builds, wanted

FURTHER: Final = (
    Real("opus_surround", ("libopus0",), "libopus.so.0.*"),
    Real("nghttp2_options", ("libnghttp2-14",), "libnghttp2.so.14.*"),
    Real("gcrypt_handles", ("libgcrypt20",), "libgcrypt.so.20.*"),
    Real("brotli_decoder", ("libbrotli1",), "libbrotlidec.so.1.*"),
    Real("event_loop", ("libevent-2.1-7", "libevent-2.1-7t64"), "libevent-2.1.so.7.*"),
    Real("speexdsp_apart", ("libspeexdsp1",), "libspeexdsp.so.1.*"),
    Real("archive_reader", ("libarchive13", "libarchive13t64"), "libarchive.so.13.*"),
    Real("json_c_reader", ("libjson-c5",), "libjson-c.so.5.*"),
    Real("jpeg_apart", ("libjpeg62-turbo",), "libjpeg.so.62.*"),
    Real("openjp2_apart", ("libopenjp2-7",), "libopenjp2.so.2*"),
    Real("seccomp_apart", ("libseccomp2",), "libseccomp.so.2.*"),
)
"""Other drivers for some of these packages."""
_CELL: Final = 150


@dataclass(frozen=True, slots=True)
class Crossed:
    """One pair of versions that a plain swap refuses, or asks about.

    Attributes:
        ways: half way, under load, and under load on an ordinary heap.
    """

    library: str
    old: Version
    new: Version
    verdict: Verdict
    ways: tuple[Crossing, ...]

    @property
    def ends(self) -> set[End]:
        return {way.end for way in self.ways}

    @property
    def rounds(self) -> int:
        return sum(sum(way.rounds) for way in self.ways)


@dataclass(frozen=True, slots=True)
class Passage:
    """Every pair, as a table."""

    title: str
    pairs: tuple[Crossed, ...]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _about(self.pairs), ""]
        lines += [
            "| library | old | new | verdict | half way | under load | ordinary heap | rounds |"
        ]
        lines += ["|---|---|---|---|---|---|---|--:|"]
        lines += [_line(p) for p in self.pairs]
        return "\n".join(lines) + "\n"


def _about(pairs: tuple[Crossed, ...]) -> str:
    cases = [p for p in pairs if End.UNUSABLE not in p.ends]
    counts = Counter(_outcome(p) for p in cases)
    unsafe = [p for p in cases if p.verdict is Verdict.UNSAFE]
    crossed = sum(p.ends == {End.CROSSED} for p in unsafe)
    return (
        f"{len(cases)} pairs of {len({p.library for p in cases})} drivers whose verdict is unsafe"
        " or unknown, so that a plain swap is refused or asks first. *Half way*: a process makes"
        " objects with the old version and begins to use them; the drain begins; they are used"
        " and destroyed, others are made, used and destroyed; the drain is settled. *Under load*:"
        " two threads do all of that again and again at full speed, and the drain begins and"
        " settles while they do; *rounds* are those before, during and after it. Both on a heap"
        " that notices faults and overwrites what is freed; *ordinary heap* is under load without."
        " Every byte is checked, and the process ends by itself."
        f" {counts[End.CROSSED]} pairs were crossed in all three ways,"
        f" {counts[End.REFUSED]} are refused, {counts[End.UNSETTLED]} did not settle,"
        f" {counts[End.WRONG]} had a wrong answer or a crash, in {sum(p.rounds for p in cases):,}"
        f" rounds. Of {len(unsafe)} pairs called unsafe {crossed} were crossed."
    )


def _outcome(pair: Crossed) -> End:
    """The worst of the ways."""
    order = (End.WRONG, End.UNSETTLED, End.REFUSED)
    return next((end for end in order if end in pair.ends), End.CROSSED)


def _line(pair: Crossed) -> str:
    rounds = " + ".join(f"{n}" for n in pair.ways[1].rounds)
    ways = [_cell(way) for way in pair.ways]
    ways[1:] = ["likewise" if way == before else way for before, way in pairwise(ways)]
    cells = (pair.library, pair.old.version, pair.new.version, pair.verdict.value, *ways, rounds)
    return f"| {' | '.join(cells)} |"


def _cell(crossing: Crossing) -> str:
    end = "" if crossing.end is End.CROSSED else f"**{crossing.end.value}**: "
    told = re.sub(r"process \d+ |/\S+/", "", crossing.told)
    return f"{end}{told}".replace("|", "/")[:_CELL]


def run(only: Collection[str] = ()) -> tuple[Passage, ...]:
    reals = wanted((*REAL, *HELD, *FRESH, *BLIND, *FURTHER), only)
    return (Passage("Every pair that is refused without draining", tuple(crossed(reals))),)


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
        pair = real.name, old.path, new.path, Path(work)
        ways = held(*pair), loaded(*pair), loaded(*pair, checked=False)
    found = Crossed(real.name, old, new, verdict, ways)
    sys.stderr.write(f"{_line(found)}\n")
    return found
