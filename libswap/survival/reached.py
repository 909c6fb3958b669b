"""Which bytes behind an address in the data the code of a file reads and writes.

By instructions that name the place, through registers that hold its address, and in functions that
get it as an argument: the layout of what lies there, as far as code tells it.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from libswap.survival.code import Function
from libswap.survival.places import STATIC
from libswap.survival.step import ADDRESS
from libswap.survival.summaries import Summaries
from libswap.survival.texts import POINTER, Texts


class Touch(NamedTuple):
    """An access to the data."""

    address: int
    width: int


@dataclass(frozen=True)
class Reached:
    """One file.

    Attributes:
        places: addresses that count: functions that take none of them are not looked at.
    """

    texts: Texts
    places: frozenset[int]

    def within(self, at: int, size: int) -> frozenset[Touch]:
        """Offsets and widths of all accesses to some bytes."""
        found = self._all[bisect_left(self._all, (at, 0)) : bisect_left(self._all, (at + size, 0))]
        return frozenset(Touch(t.address - at, t.width) for t in found)

    @cached_property
    def _all(self) -> list[Touch]:
        return sorted(set[Touch]().union(*self.by_function.values()))

    @cached_property
    def by_function(self) -> dict[int, set[Touch]]:
        """Where a function begins that takes an address -> what it touches."""
        takers = {
            spot.owner
            for at in self.places for spot in self.texts.sites.get(at, ())
            if spot.step > POINTER and self.texts.step(spot).kind == ADDRESS
        }  # fmt: skip
        by_start = self.texts.bodies.code.by_start
        return {start: self._by(by_start[start]) for start in sorted(takers & by_start.keys())}

    def _by(self, function: Function) -> set[Touch]:
        seen = self._summaries.profile(function)
        found = {Touch(a.offset, a.width) for a in seen.trace if a is not None and a.path is STATIC}
        for call in seen.calls:
            places = {n: p[1] for n, p in enumerate(call.arguments) if p and p[0] is STATIC}
            if places and isinstance(call.goal, Function):
                for access in self._summaries.of(call.goal):
                    if len(access.path) == 1 and access.path[0] in places:
                        start = places[int(access.path[0])]
                        found.add(Touch(start + access.offset, access.width))
        return found

    @cached_property
    def _summaries(self) -> Summaries:
        return Summaries.over(self.texts.bodies, self.texts.budget)
