"""Which registers a function changes, itself and through what it calls.

A compiler that sees both knows it, and keeps values across a call in registers that the calling
convention would let the callee change (gcc -fipa-ra).
"""

from dataclasses import dataclass, field
from typing import Final

from libswap.survival.bodies import Bodies
from libswap.survival.code import Function
from libswap.survival.step import CALL, CALL_AT, JUMP, JUMP_AT, NONE

ALL: Final = (1 << 16) - 1
_MOST_STEPS: Final = 2000
_DEEPEST: Final = 6


@dataclass(slots=True)
class Changes:
    """Of one file."""

    bodies: Bodies
    _known: dict[int, int] = field(default_factory=dict)

    def of(self, function: Function, depth: int = 0) -> int:
        """A bit for each register; all of them where that is not known."""
        found = self._known.get(function.start)
        if found is None:
            self._known[function.start] = ALL  # for calls in a circle
            found = self._known[function.start] = self._look(function, depth)
        return found

    def _look(self, function: Function, depth: int) -> int:
        steps = self.bodies.of(function).steps
        if depth > _DEEPEST or len(steps) > _MOST_STEPS:
            return ALL
        changed = 0
        for step in steps:
            changed |= step.spoils
            if step.target != NONE:
                changed |= 1 << step.target
            leaves = step.kind == JUMP and not function.start <= step.goal < function.end
            if leaves or step.kind == CALL:
                goal = self.bodies.code.by_start.get(step.goal)
                changed |= ALL if goal is None else self.of(goal, depth + 1)
            elif step.kind in (CALL_AT, JUMP_AT):
                return ALL
            if changed == ALL:
                return ALL
        return changed
