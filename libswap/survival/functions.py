"""Which function of the new file is which of the old: by name, else by who calls it and where."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from libswap.linux.budget import ENDLESS, Budget
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code, Function
from libswap.survival.forms import Form

_CLONE: Final = re.compile(r"\.(?:constprop|isra|part|cold|lto_priv|localalias)\b")
_ROUNDS: Final = 12
_MANY: Final = 400
"""References of one function that are brought into line with another's."""
_SHORT: Final = 6
"""Steps; shorter functions look alike without being the same."""


@dataclass(slots=True)
class Pairs:
    """Functions and data of two files that stand for one another, by their addresses."""

    old: Bodies
    new: Bodies
    functions: dict[int, int] = field(default_factory=dict)
    data: dict[int, int] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)

    def find(self, budget: Budget = ENDLESS) -> None:
        """All that can be found, as long as there is time."""
        todo = [*self._by_name(), *self._by_code(budget)]
        for _ in range(_ROUNDS):
            votes: Counter[tuple[int, int]] = Counter()
            for old, new in todo:
                if budget.spent:
                    return
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

    def _by_code(self, budget: Budget) -> list[tuple[int, int]]:
        """Code that occurs once in each file."""
        found = same_code(self.old, self.new, budget)
        return [pair for pair in found if self._take(*pair)]

    def _called_alike(self, old: int, new: int) -> Iterator[tuple[tuple[int, int], int]]:
        """Pairs of what two paired functions name in the same place."""
        a, b = (
            bodies.of(bodies.code.by_start[at]) for bodies, at in ((self.old, old), (self.new, new))
        )
        mine, its = self.old.named(a), self.new.named(b)
        if a.alike(b):
            for index in mine.keys() & its.keys():
                one, other = mine[index], its[index]
                if isinstance(one, Function) and isinstance(other, Function):
                    yield (one.start, other.start), 3
                elif isinstance(one, int) and isinstance(other, int):
                    self.data.setdefault(one, other)
            return
        ones, others = (
            [named for named in some.values() if not isinstance(named, int)][:_MANY]
            for some in (mine, its)
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


def same_code(
    old: Bodies, new: Bodies, budget: Budget, shortest: int = _SHORT
) -> list[tuple[int, int]]:
    """Functions of at least so many steps whose code occurs once in each file.

    None where there is not time enough.
    """
    forms, others = (_forms(one, budget, shortest) for one in (old, new))
    both = forms.keys() & others.keys()
    found = [(forms[form], others[form]) for form in both]
    outlines = {f.outline for f in forms.keys() - both} & {f.outline for f in others.keys() - both}
    ones, rest = (
        [(f.exact, at) for f, at in some.items() if f.outline in outlines and f not in both]
        for some in (forms, others)
    )
    exact, other_exact = _joined(ones), _joined(rest)
    found += [(at, other_exact[code]) for code, at in exact.items() if code in other_exact]
    return sorted((a[0], b[0]) for a, b in found if len(a) == len(b) == 1)


def _forms(bodies: Bodies, budget: Budget, shortest: int) -> dict[Form, list[int]]:
    """Each form -> where it is."""
    found: dict[Form, list[int]] = defaultdict(list)
    for function in bodies.code.functions:
        if budget.spent:
            return {}
        form = bodies.of(function).form
        if form.count >= shortest:
            found[form].append(function.start)
    return found


def _joined(some: Iterable[tuple[tuple[int, ...], list[int]]]) -> dict[tuple[int, ...], list[int]]:
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for code, at in some:
        found[code] = [*found[code], *at]
    return found
