"""Which function of the new file is which of the old: by name, else by who calls it and where."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libswap.survival.code import Code, Function
from libswap.survival.step import ADDRESS, NOTHING, RIP, Step
from libswap.survival.steps import Steps

_CLONE: Final = re.compile(r"\.(?:constprop|isra|part|cold|lto_priv|localalias)\b")
_ROUNDS: Final = 12
_MANY: Final = 400
"""References of one function that are brought into line with another's."""
_SHORT: Final = 6
"""Steps; shorter functions look alike without being the same."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is seen of one function without running it.

    Attributes:
        exact: equal where the code is equal but for the addresses in it.
        shape: equal where it also differs in displacements and immediates.
        steps: without those that only fill up.
    """

    function: Function
    steps: tuple[Step, ...]
    exact: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(slots=True)
class Bodies:
    """The functions of one file, each decoded when it is asked for."""

    code: Code
    decoder: Steps
    _known: dict[int, Body] = field(default_factory=dict)

    def of(self, function: Function) -> Body:
        """One of them."""
        found = self._known.get(function.start)
        if found is None:
            seen = self.decoder.of(self.code.text(function), function.start)
            found = self._known[function.start] = Body(function, seen.steps, seen.exact, seen.shape)
        return found

    def references(self, body: Body) -> Iterator[tuple[Step, Function | str | int]]:
        """Each step that names something: a function, a name of elsewhere, or data's address."""
        function = body.function
        for step in body.steps:
            if step.kind == NOTHING:
                continue
            if step.goal and not function.start <= step.goal < function.end:
                found = self.code.called(step.goal) or self.code.holding(step.goal)
                if found is not None:
                    yield step, found
            elif step.base == RIP:
                through = self.code.through(step.offset) if step.kind != ADDRESS else None
                yield step, through or self.code.by_start.get(step.offset) or step.offset


@dataclass(slots=True)
class Pairs:
    """Functions and data of two files that stand for one another, by their addresses."""

    old: Bodies
    new: Bodies
    functions: dict[int, int] = field(default_factory=dict)
    data: dict[int, int] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)

    def find(self) -> None:
        """All that can be found."""
        todo = [*self._by_name(), *self._by_code()]
        for _ in range(_ROUNDS):
            votes: Counter[tuple[int, int]] = Counter()
            for old, new in todo:
                for pair, weight in self._called_alike(old, new):
                    votes[pair] += weight
            todo = [pair for pair, _ in votes.most_common() if self._take(*pair)]
            if not todo:
                return

    def _take(self, old: int, new: int) -> bool:
        if old in self.functions or new in self._taken:
            return False
        self.functions[old] = new
        self._taken.add(new)
        return True

    def _by_name(self) -> list[tuple[int, int]]:
        old, new = (names(b.code) for b in (self.old, self.new))
        found = [(f.start, new[n].start) for n, f in old.items() if n in new]
        return [pair for pair in found if self._take(*pair)]

    def _by_code(self) -> list[tuple[int, int]]:
        """Code that occurs once in each file."""
        old, new = (unique(b) for b in (self.old, self.new))
        found = [(at, new[code]) for code, at in old.items() if code in new]
        return [pair for pair in found if self._take(*pair)]

    def _called_alike(self, old: int, new: int) -> Iterator[tuple[tuple[int, int], int]]:
        """Pairs of what two paired functions name in the same place."""
        a, b = (
            bodies.of(bodies.code.by_start[at]) for bodies, at in ((self.old, old), (self.new, new))
        )
        if a.shape == b.shape:
            named = zip(self.old.references(a), self.new.references(b), strict=False)
            for (_, one), (_, other) in named:
                if isinstance(one, Function) and isinstance(other, Function):
                    yield (one.start, other.start), 3
                elif isinstance(one, int) and isinstance(other, int):
                    self.data.setdefault(one, other)
            return
        ones, others = (
            [r for _, r in bodies.references(body) if not isinstance(r, int)][:_MANY]
            for bodies, body in ((self.old, a), (self.new, b))
        )
        yield from self._aligned(ones, others)

    def _aligned(
        self, ones: list[Function | str], others: list[Function | str]
    ) -> Iterator[tuple[tuple[int, int], int]]:
        """Where both name as many things and the known ones stand in the same places."""
        if len(ones) != len(others):
            return
        both = list(zip(ones, others, strict=True))
        if any(self._differ(one, other) for one, other in both):
            return
        for one, other in both:
            if isinstance(one, Function) and isinstance(other, Function):
                yield (one.start, other.start), 1

    def _differ(self, one: Function | str, other: Function | str) -> bool:
        if isinstance(one, str) or isinstance(other, str):
            return one != other
        return self.functions.get(one.start, other.start) != other.start


def names(code: Code) -> dict[str, Function]:
    """Functions by a name that only one has."""
    found: dict[str, list[Function]] = defaultdict(list)
    for name, function in code.own.items():
        found[name].append(function)
    for function in code.functions:
        if function.name and not function.exported and not _CLONE.search(function.name):
            found[function.name].append(function)
    return {n: f[0] for n, f in found.items() if len(f) == 1}


def unique(bodies: Bodies, shortest: int = _SHORT) -> dict[tuple[int, ...], int]:
    """Code that occurs once, of at least so many steps -> where."""
    found: dict[tuple[int, ...], int] = {}
    twice: set[tuple[int, ...]] = set()
    for function in bodies.code.functions:
        code = bodies.of(function).exact
        if len(code) < shortest:
            continue
        if code in found:
            twice.add(code)
        found[code] = function.start
    return {code: at for code, at in found.items() if code not in twice}
