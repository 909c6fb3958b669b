"""Whether what a function is handed can outlive the call: an object on a caller's stack cannot."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from libswap.survival.code import Function
from libswap.survival.places import STACK
from libswap.survival.summaries import Summaries

_MOST_CALLERS: Final = 64
_DEEPEST: Final = 12


@dataclass
class Provenance:
    """Of one file."""

    summaries: Summaries
    _known: dict[tuple[int, int], bool] = field(default_factory=dict)

    def transient(self, function: Function, argument: int, depth: int = 0) -> bool:
        """Whether every caller hands over something of its own stack."""
        key = function.start, argument
        if key not in self._known:
            self._known[key] = True  # for calls in a circle
            self._known[key] = depth < _DEEPEST and self._is_transient(function, argument, depth)
        return self._known[key]

    def _is_transient(self, function: Function, argument: int, depth: int) -> bool:
        callers = self._callers.get(function.start, set())
        if function.exported or function.start in self.reachable or not callers:
            return False
        if len(callers) > _MOST_CALLERS:
            return False
        by_start = self.summaries.bodies.code.by_start
        return all(self._hands(by_start[c], function, argument, depth) for c in sorted(callers))

    def _hands(self, caller: Function, function: Function, argument: int, depth: int) -> bool:
        for call in self.summaries.profile(caller).calls:
            if call.goal == function:
                place = call.arguments[argument]
                if place is None or len(place[0]) > 1:
                    return False
                root = place[0][0]
                if place[0] is STACK:
                    continue
                if not isinstance(root, int) or not self.transient(caller, root, depth + 1):
                    return False
        return True

    @cached_property
    def reachable(self) -> frozenset[int]:
        """Functions whose address is taken: by a table, or by code that does not call them."""
        code = self.summaries.bodies.code
        found = {at for at in code.pointers.values() if at in code.by_start}
        return frozenset(found | self._references[1])

    @cached_property
    def _callers(self) -> dict[int, set[int]]:
        return self._references[0]

    @cached_property
    def _references(self) -> tuple[dict[int, set[int]], set[int]]:
        callers: dict[int, set[int]] = defaultdict(set)
        taken: set[int] = set()
        bodies = self.summaries.bodies
        for function in bodies.code.functions:
            body = bodies.of(function)
            for index, named in bodies.named(body).items():
                if isinstance(named, Function):
                    if body.form.by_index[index].near:
                        callers[named.start].add(function.start)
                    else:
                        taken.add(named.start)
        return callers, taken
