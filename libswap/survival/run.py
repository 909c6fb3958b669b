"""An abstract run over the steps of a function: which fields of which objects it reaches.

Every register and stack slot holds a path or nothing that is known. Branches forward are joined; a
loop is run once, and what only a branch back leads to is run with what was known at that branch.
"""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from operator import itemgetter
from typing import Final

from libswap.survival import step as kinds
from libswap.survival.accesses import Access, Call, Profile
from libswap.survival.code import Code, Function
from libswap.survival.effects import ACTS, Effects
from libswap.survival.places import STACK, STATIC, Place, State
from libswap.survival.step import ARGUMENTS, NONE, RAX, RIP, RSP, Step

LOST_BY_CALLS: Final = 0b1111_1100_0111
"""A bit for each register that the calling convention lets a function change (psABI 3.2.1)."""
_PASSES: Final = 3
_WITHOUT_ACCESS: Final = (kinds.ADDRESS, kinds.NOTHING)
_handed: Final = itemgetter(*ARGUMENTS)


def profile(
    code: Code, function: Function, found: Sequence[Step],
    changes: Callable[[Function], int] = lambda _: LOST_BY_CALLS,
) -> Profile:  # fmt: skip
    """Run over the steps of a function.

    Args:
        code: of its file.
        function: which one.
        found: its steps.
        changes: a bit for each register that a function of the file changes.
    """
    behind: dict[int, State] = {}
    accesses: set[Access] = set()
    trace: list[Access | None] = []
    for _ in range(_PASSES):
        run = _Run(code, function, changes, behind)
        run.all(found)
        # The first node of a list is known in the first pass only: what the loop goes on to is not.
        accesses |= run.effects.accesses
        trace = [a or b for a, b in zip_longest(trace, run.effects.trace)]
        fresh = {at: run.behind[at] for at in run.dead & run.behind.keys() - behind.keys()}
        if not fresh:
            break
        behind |= fresh
    seen = run.effects
    return Profile(
        frozenset(accesses), tuple(trace), tuple(run.calls), frozenset(seen.probes),
        frozenset(seen.stored), frozenset(seen.called), frozenset(seen.handlers),
        frozenset(seen.answers),
    )  # fmt: skip


class _Run:
    def __init__(
        self, code: Code, function: Function, changes: Callable[[Function], int],
        known: dict[int, State],
    ) -> None:  # fmt: skip
        self.code = code
        self.function = function
        self.changes = changes
        self.effects = Effects(code)
        self.calls: list[Call] = []
        self.pending = {at: state.copy() for at, state in known.items()}
        self.behind: dict[int, State] = {}
        self.dead: set[int] = set()
        self.switch: State | None = None

    def all(self, found: Sequence[Step]) -> None:
        registers = self.effects.state.registers
        for number, register in enumerate(ARGUMENTS):
            registers[register] = ((number,), 0)
        registers[RSP] = (STACK, 0)
        at, alive = self.function.start, True
        pending, effects = self.pending, self.effects
        for step in found:
            kind = step.kind
            if at in pending if alive else kind != kinds.NOTHING:
                alive = self._arrive(at, alive)
            at += step.length
            reaches = step.width and kind not in _WITHOUT_ACCESS
            if not alive:
                if reaches:
                    effects.trace.append(None)
                continue
            if reaches:
                effects.reach(step)
            act = ACTS.get(kind)
            if act is not None:
                act(effects, step)
            else:
                alive = self._go(step, at)

    def _arrive(self, at: int, alive: bool) -> bool:  # noqa: FBT001
        """Take up what is known at a place; whether anything leads to it."""
        waiting = self.pending.pop(at, None)
        if waiting is not None:
            if alive:
                self.effects.state.join(waiting)
            else:
                self.effects.state = waiting
        elif not alive:
            self.dead.add(at)  # unless it is a case of a switch, or the next run knows better
            if self.switch is None:
                return False
            self.effects.state = self.switch.copy()
        return True

    def _go(self, step: Step, after: int) -> bool:
        """Do a step that may go elsewhere; whether the next one follows it."""
        kind = step.kind
        if kind == kinds.BRANCH:
            self._branch(step, after)
        elif kind in (kinds.CALL, kinds.CALL_AT):
            self._call(step)
        elif kind in (kinds.JUMP, kinds.JUMP_AT):
            self._jump(step, after)
            return False
        return kind != kinds.RETURN

    def _call(self, step: Step) -> None:
        goal = self._goal(step)
        given: Place | None = None
        lost = LOST_BY_CALLS
        if goal is not None:
            self._called(goal)
            name = goal if isinstance(goal, str) else goal.name
            given = ((name or "?",), 0)
            if isinstance(goal, Function) and step.goal == goal.start:
                lost &= self.changes(goal)
        elif step.kind == kinds.CALL_AT:
            given = self.effects.call(step)
        self.effects.lose(lost)
        self.effects.state.registers[RAX] = given

    def _called(self, goal: Function | str) -> None:
        self.calls.append(Call(goal, self._handed()))
        if isinstance(goal, str):
            self.effects.hand(goal)

    def _handed(self) -> tuple[Place | None, ...]:
        handed: tuple[Place | None, ...] = _handed(self.effects.state.registers)
        return handed

    def _goal(self, step: Step) -> Function | str | None:
        if step.goal:
            return self.code.called(step.goal)
        if step.base == RIP:
            return self.code.through(step.offset)
        return self.effects.named(step)

    def _branch(self, step: Step, after: int) -> None:
        if self.function.start <= step.goal < self.function.end:
            self._lead(step.goal, after)
        else:
            self._leave(step)

    def _jump(self, step: Step, after: int) -> None:
        if step.kind == kinds.JUMP:
            self._branch(step, after)
        elif self._goal(step) is not None:
            self._leave(step)
        else:
            self.effects.call(step)
            self._switch(step, after)

    def _switch(self, step: Step, after: int) -> None:
        """A jump by a table of distances from the table itself, as compilers write a switch."""
        place = self.effects.state.registers[step.target] if step.target != NONE else None
        known = place is not None and place[0] is STATIC
        cases = self.code.cases(place[1], self.effects.limit) if place and known else ()
        inside = {a for a in cases if self.function.start <= a < self.function.end}
        for goal in inside:
            self._lead(goal, after)
        if not inside:
            self.switch = self.effects.state.copy()

    def _leave(self, step: Step) -> None:
        """A jump into another function, which returns for this one."""
        goal = self._goal(step)
        if goal is None and step.goal:
            goal = self.code.holding(step.goal)
        if goal is not None and goal != self.function:
            self._called(goal)

    def _lead(self, goal: int, after: int) -> None:
        """Keep what is known for a place ahead, or, where nothing else leads, for the next run."""
        if goal < after and goal not in self.dead:
            return
        places = self.pending if goal >= after else self.behind
        waiting = places.get(goal)
        if waiting is None:
            places[goal] = self.effects.state.copy()
        else:
            waiting.join(self.effects.state)
