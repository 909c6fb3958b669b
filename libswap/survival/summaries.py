"""What a function does with its arguments, itself and through all that it calls.

A compiler decides anew in each build what it inlines; what a function and its callees do together
does not depend on that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from libswap.survival.accesses import Access, Profile
from libswap.survival.changes import Changes
from libswap.survival.code import Function
from libswap.survival.functions import Bodies
from libswap.survival.places import DEEPEST, MAX_OFFSET, Place
from libswap.survival.run import profile

_PASSES: Final = 2
"""The second one closes the circles of functions that call each other."""
_MAX_ACCESSES: Final = 6000


@dataclass(slots=True)
class Summaries:
    """The functions of one file."""

    bodies: Bodies
    changes: Changes
    _profiles: dict[int, Profile] = field(default_factory=dict)
    _known: dict[int, frozenset[Access]] = field(default_factory=dict)

    @classmethod
    def over(cls, bodies: Bodies) -> "Summaries":
        """Of one file."""
        return cls(bodies, Changes(bodies))

    def profile(self, function: Function) -> Profile:
        """What it does itself."""
        found = self._profiles.get(function.start)
        if found is None:
            steps = self.bodies.of(function).steps
            found = profile(self.bodies.code, function, steps, self.changes.of)
            self._profiles[function.start] = found
        return found

    def of(self, function: Function) -> frozenset[Access]:
        """What it does altogether."""
        if function.start not in self._known:
            order = list(self._callees_first(function))
            for _ in range(_PASSES):
                for one in order:
                    self._known[one.start] = self._together(one)
        return self._known[function.start]

    def _callees_first(self, function: Function) -> Iterator[Function]:
        seen = {function.start}
        stack: list[tuple[Function, Iterator[Function]]] = [(function, self._called(function))]
        while stack:
            current, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                yield current
            elif following.start not in seen and following.start not in self._known:
                seen.add(following.start)
                stack.append((following, self._called(following)))

    def _called(self, function: Function) -> Iterator[Function]:
        return (c.goal for c in self.profile(function).calls if isinstance(c.goal, Function))

    def _together(self, function: Function) -> frozenset[Access]:
        own = self.profile(function)
        found = set(own.accesses)
        for call in own.calls:
            if isinstance(call.goal, Function) and len(found) < _MAX_ACCESSES:
                found.update(_handed(self._known.get(call.goal.start, ()), call.arguments))
        return frozenset(found)


def _handed(accesses: Iterable[Access], arguments: tuple[Place | None, ...]) -> Iterator[Access]:
    """Accesses of a callee in terms of what its caller handed over."""
    for path, offset, width in accesses:
        number = path[0]
        if not isinstance(number, int):
            continue
        place = arguments[number]
        if place is None or not isinstance(place[0][0], int):
            continue
        base, start = place
        if len(path) == 1:
            if abs(start + offset) <= MAX_OFFSET:
                yield Access(base, start + offset, width)
        elif len(base) + len(path) - 1 <= DEEPEST:
            yield Access((*base, start + int(path[1]), *path[2:]), offset, width)
