"""The verdict on live objects against what becomes of them, for real versions of real libraries."""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

from libswap.live.module import LibraryCache
from libswap.operations.survival import Verdict, survival
from libswap.operations.survival.nameless import finder
from support.debian import Debian, cache_dir
from support.encounter import Truth, encounter
from support.versions import REAL, Real, Version, versions

Builds: TypeAlias = list[tuple[Real, tuple[Version, ...]]]
FURTHEST = 2
"""Pairs of neighbours, and of those with one version between them."""
GOOD = {Verdict.PROVEN, Verdict.LIKELY}


@dataclass(frozen=True, slots=True)
class Judged:
    """One pair of versions."""

    library: str
    old: Version
    new: Version
    verdict: Verdict
    because: str
    truth: Truth
    told: str
    conditions: int
    stoppers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Classifier:
    """Every pair, as a table."""

    title: str
    pairs: tuple[Judged, ...]

    def markdown(self) -> str:
        cases = [p for p in self.pairs if p.truth is not Truth.UNUSABLE]
        lines = [f"### {self.title}", "", _about(cases, len(self.pairs)), ""]
        lines += ["| library | old | new | verdict | truth | why, or what happened |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [
            f"| {p.library} | {p.old.version} | {p.new.version} | {p.verdict.value} "
            f"| {p.truth.value} | {_cell(p)} |"
            for p in self.pairs
        ]
        return "\n".join(lines) + "\n"


def _about(cases: list[Judged], every: int) -> str:
    counts = Counter((p.truth, p.verdict in GOOD) for p in cases)
    good = [p for p in cases if p.truth is Truth.SAFE and p.verdict in GOOD]
    on_condition = sum(p.conditions > 0 for p in good)
    safe = counts[Truth.SAFE, True] + counts[Truth.SAFE, False]
    unsafe = counts[Truth.UNSAFE, True] + counts[Truth.UNSAFE, False]
    return (
        f"{len(cases)} pairs of {len({p.library for p in cases})} libraries whose truth could be"
        f" established ({every} were tried). A process makes objects with the old version and uses"
        " them, is really moved to the new one (`libswap live --force`, a checked heap), uses and"
        " destroys them there, and does it all once more. *no case*: no swap is possible at all,"
        f" or the driver does not work. Of {unsafe} unsafe pairs {counts[Truth.UNSAFE, True]} are"
        f" called proven or likely; of {safe} safe ones {counts[Truth.SAFE, True]} are"
        f" ({100 * counts[Truth.SAFE, True] / max(safe, 1):.0f} %),"
        f" {on_condition} of them on condition"
        f" that data of the library is as it began in the process. {_stopped(good)}"
    )


def _stopped(good: list[Judged]) -> str:
    stopped = [p for p in good if p.stoppers]
    if not stopped:
        return "Nothing else stops a plain `libswap live` of any of these."
    words = ", ".join(sorted({word for p in stopped for word in p.stoppers}))
    return f"In the process of {len(stopped)} of these a plain `libswap live` refuses ({words})."


def _cell(pair: Judged) -> str:
    if pair.verdict in GOOD:
        text = "on condition" if pair.conditions else ""
        text += f"; plain `live` refuses: {', '.join(pair.stoppers)}" if pair.stoppers else ""
        text = text.removeprefix("; ")
    else:
        text = pair.because
    if pair.truth is not Truth.SAFE:
        text = f"{text}; {pair.told}" if text else pair.told
    return text.replace("|", "/")[:110]


def run(only: Collection[str] = ()) -> tuple[Classifier, ...]:
    return (Classifier("Every pair", tuple(judged(builds(wanted(REAL, only))))),)


def wanted(reals: Sequence[Real], only: Collection[str]) -> list[Real]:
    """Those of these names; all where there are no names."""
    return [real for real in reals if not only or real.name in only]


def builds(reals: Sequence[Real]) -> Builds:
    """What can be had of each library."""
    debian = Debian(cache_dir())
    return [(real, tuple(versions(debian, real))) for real in reals]


def judged(found: Builds) -> Iterator[Judged]:
    """Every pair of neighbours, and of those with one version between them."""
    for real, ones in found:
        yield from _judged(real, ones)


def _judged(real: Real, builds: tuple[Version, ...]) -> Iterator[Judged]:
    for (i, old), (j, new) in combinations(enumerate(builds), 2):
        if j - i > FURTHEST:
            continue
        cache = LibraryCache(finder=finder())
        said = survival(cache.open(str(old.path)), cache.open(str(new.path)))
        with tempfile.TemporaryDirectory() as work:
            met = encounter(real.name, old.path, new.path, Path(work))
        because = f"{said.evidence[0].kind}: {said.evidence[0].subject}" if said.evidence else ""
        yield Judged(
            real.name, old, new, said.verdict, because, met.truth, met.told,
            conditions=len(said.conditions), stoppers=met.stoppers,
        )  # fmt: skip
