"""What a function does with its arguments, itself and through all that it calls.

A compiler decides anew in each build what it inlines; what a function and its callees do together
does not depend on that.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from libswap.linux.budget import ENDLESS, Budget
from libswap.survival.accesses import Access, Call, Profile
from libswap.survival.bodies import Bodies
from libswap.survival.changes import Changes
from libswap.survival.code import Function
from libswap.survival.places import DEEPEST, MAX_OFFSET, Place
from libswap.survival.run import profile
from libswap.survival.step import made

_MAX_ACCESSES: Final = 6000
Arguments: TypeAlias = Mapping[int | str, Place]
"""By number; what is no argument at the root of a path has none."""


@dataclass(slots=True)
class Summaries:
    """The functions of one file."""

    bodies: Bodies
    changes: Changes
    budget: Budget = ENDLESS
    _profiles: dict[int, Profile] = field(default_factory=dict)
    _known: dict[int, frozenset[Access]] = field(default_factory=dict)
    _calls: dict[int, Sequence[tuple[Function, Arguments]]] = field(default_factory=dict)

    @classmethod
    def over(cls, bodies: Bodies, budget: Budget = ENDLESS) -> "Summaries":
        """Of one file."""
        return cls(bodies, Changes(bodies), budget)

    def profile(self, function: Function) -> Profile:
        """What it does itself."""
        found = self._profiles.get(function.start)
        if found is None:
            self.budget.check()
            steps = self.bodies.of(function).steps
            found = profile(self.bodies.code, function, steps, self.changes.of)
            self._profiles[function.start] = found
        return found

    def of(self, function: Function) -> frozenset[Access]:
        """What it does altogether."""
        if function.start not in self._known:
            order = list(self._callees_first(function))
            later = {one.start for one in order}
            circles = set()
            for one in order:
                if any(goal.start in later for goal, _ in self._handing(one)):
                    circles.add(one.start)
                self._known[one.start] = self._together(one)
                later.discard(one.start)
            self._close(order, circles)
        return self._known[function.start]

    def _close(self, order: Iterable[Function], circles: Collection[int]) -> None:
        """Look once more at those that did not know all that they call, and who calls those."""
        changed = set()
        for one in order:
            if one.start in circles or any(g.start in changed for g, _ in self._handing(one)):
                found = self._together(one)
                if found != self._known[one.start]:
                    self._known[one.start] = found
                    changed.add(one.start)

    def _callees_first(self, function: Function) -> Iterator[Function]:
        seen = {function.start}
        stack = [(function, iter(self._handing(function)))]
        while stack:
            current, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                yield current
            elif (goal := following[0]).start not in seen and goal.start not in self._known:
                seen.add(goal.start)
                stack.append((goal, iter(self._handing(goal))))

    def _handing(self, function: Function) -> Sequence[tuple[Function, Arguments]]:
        """The calls that hand over something of what it was handed itself, and that."""
        found = self._calls.get(function.start)
        if found is None:
            found = self._calls[function.start] = [
                (call.goal, handed) for call in self.profile(function).calls
                if isinstance(call.goal, Function) and (handed := _rooted(call))
            ]  # fmt: skip
        return found

    def _together(self, function: Function) -> frozenset[Access]:
        found = set(self.profile(function).accesses)
        for goal, arguments in self._handing(function):
            if len(found) < _MAX_ACCESSES:
                found.update(_handed(self._known.get(goal.start, ()), arguments))
        return frozenset(found)


def _rooted(call: Call) -> Arguments:
    return {
        number: place for number, place in enumerate(call.arguments)
        if place is not None and isinstance(place[0][0], int)
    }  # fmt: skip


def _handed(accesses: Iterable[Access], arguments: Arguments) -> Iterator[Access]:
    """Accesses of a callee in terms of what its caller handed over."""
    for path, offset, width in accesses:
        place = arguments.get(path[0])
        if place is None:
            continue
        base, start = place
        if len(path) == 1:
            if abs(start + offset) <= MAX_OFFSET:
                yield made(Access, (base, start + offset, width))
        elif len(base) + len(path) - 1 <= DEEPEST:
            yield made(Access, ((*base, start + int(path[1]), *path[2:]), offset, width))
