"""What a function does with the objects that it is handed: an abstract run over its steps.

Every register and stack slot holds a path or nothing that is known. A path begins at an argument
(System V psABI x86-64 section 3.2.3) or at what a call gave back, and goes from object to object by
the offsets of the pointers that were loaded. Branches forward are joined; a loop is run once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from libswap.survival import steps as kinds
from libswap.survival.code import Code, Function
from libswap.survival.steps import NONE, RAX, REGISTERS, RIP, RSP, Step

ARGUMENTS: Final = (7, 6, 2, 1, 8, 9)
"""rdi, rsi, rdx, rcx, r8, r9."""
DEEPEST: Final = 3
"""Loads in a path; what lies deeper is compared where a function gets it as an argument."""
MAX_OFFSET: Final = 1 << 20
_MAX_ACCESSES: Final = 4000
_MAX_SLOTS: Final = 512
LOST_BY_CALLS: Final = (0, 1, 2, 6, 7, 8, 9, 10, 11)

Path: TypeAlias = tuple[int | str, ...]
"""An argument's number, or the name of a function that gave it back, then offsets of loads."""
Place: TypeAlias = tuple[Path, int]
"""Where a pointer points: an object and an offset in it; (("=",), n) is the number n."""
_State: TypeAlias = tuple[list[Place | None], dict[int, Place | None]]

NUMBER: Final[Path] = ("=",)
STACK: Final[Path] = ("stack",)
STATIC: Final[Path] = ("static",)
"""The library's own data."""


class Access(NamedTuple):
    """A read or write of an object; width 0 stands for a call of the function it points to."""

    path: Path
    offset: int
    width: int


class Call(NamedTuple):
    """A call, or a jump out of the function: where to, and what is handed over."""

    goal: "Function | str"
    arguments: tuple[Place | None, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What one function does.

    Attributes:
        accesses: of objects that did not begin with it.
        trace: for each step that names a place in memory, what it was; None if that is not known.
        calls: in the order of their addresses.
        hooks: numbers that are handed to functions that an object points to.
        cases: how many cases the switches have.
    """

    accesses: frozenset[Access]
    trace: tuple[Access | None, ...]
    calls: tuple[Call, ...]
    hooks: tuple[tuple[int, int], ...]
    cases: tuple[int, ...]


def profile(
    code: Code, function: Function, found: Sequence[Step], *, fixed: bool = False
) -> Profile:
    """Run over the steps of a function.

    Args:
        code: the file.
        function: one of it.
        found: its steps.
        fixed: tell the places of the library's own data apart: their offsets are addresses.
    """
    run = _Run(code, function, fixed=fixed)
    run.all(found)
    return Profile(
        frozenset(run.accesses), tuple(run.trace), tuple(run.calls), tuple(sorted(run.hooks)),
        tuple(sorted(run.cases)),
    )  # fmt: skip


class _Run:
    def __init__(self, code: Code, function: Function, *, fixed: bool) -> None:
        self.code = code
        self.fixed = fixed
        self.function = function
        self.accesses: set[Access] = set()
        self.trace: list[Access | None] = []
        self.calls: list[Call] = []
        self.hooks: list[tuple[int, int]] = []
        self.cases: list[int] = []
        self.pending: dict[int, _State] = {}
        self.registers: list[Place | None] = [None] * REGISTERS
        self.slots: dict[int, Place | None] = {}
        self.compared: int | None = None
        self.effects: dict[int, Callable[[Step], None]] = {
            kinds.MOVE: self._move, kinds.LOAD: self._load, kinds.STORE: self._stored,
            kinds.ADDRESS: self._address, kinds.CONSTANT: self._constant,
            kinds.ADD: self._added, kinds.SUM: self._summed, kinds.PUSH: self._pushed,
            kinds.POP: self._popped, kinds.CALL: self._called, kinds.CALL_AT: self._called,
        }  # fmt: skip

    def all(self, found: Sequence[Step]) -> None:
        for number, register in enumerate(ARGUMENTS):
            self.registers[register] = ((number,), 0)
        self.registers[RSP] = (STACK, 0)
        at, alive = self.function.start, True
        switch: _State | None = None
        for step in found:
            waiting = self.pending.pop(at, None)
            if waiting is not None:
                if alive:
                    self._join(waiting)
                else:
                    self.registers, self.slots = waiting
                alive = True
            elif not alive and switch is not None:
                self.registers, self.slots = list(switch[0]), dict(switch[1])
                alive = True
            at += step.length
            if alive:
                alive = self._step(step, at)
                if step.kind == kinds.JUMP_AT:
                    switch = (list(self.registers), dict(self.slots))
            elif step.width and step.kind not in (kinds.ADDRESS, kinds.NOTHING):
                self.trace.append(None)

    def _step(self, step: Step, after: int) -> bool:
        """Do one step; whether the next one follows it."""
        kind = step.kind
        if step.width and kind not in (kinds.ADDRESS, kinds.NOTHING):
            self._access(step)
        if kind in (kinds.NOTHING, kinds.RETURN):
            return kind == kinds.NOTHING
        if kind in (kinds.JUMP, kinds.JUMP_AT):
            self._jumped(step, after)
            return False
        if kind == kinds.BRANCH:
            self._branch(step, after)
        else:
            self.effects.get(kind, self._other)(step)
        return True

    def _other(self, step: Step) -> None:
        if step.constant is not None:
            self.compared = step.constant
        for register in range(REGISTERS):
            if step.spoils >> register & 1:
                self.registers[register] = None

    def _move(self, step: Step) -> None:
        self.registers[step.target] = self.registers[step.source]

    def _load(self, step: Step) -> None:
        self.registers[step.target] = self._loaded(step)

    def _address(self, step: Step) -> None:
        at = (STATIC, step.offset if self.fixed else 0)
        self.registers[step.target] = at if step.base == RIP else self._place(step)

    def _constant(self, step: Step) -> None:
        self.registers[step.target] = (NUMBER, step.constant or 0)

    def _place(self, step: Step) -> Place | None:
        """Where a place in memory is, None if that is not known; an index is left out."""
        if step.base in (NONE, RIP):
            return None
        base = self.registers[step.base]
        if base is None or base[0] is NUMBER:
            if step.scaled == NONE:
                return None
            base = self.registers[step.scaled]
            if base is None or base[0] is NUMBER:
                return None
        return base[0], base[1] + step.offset

    def _access(self, step: Step, width: int | None = None) -> None:
        place = self._place(step)
        access = Access(*place, step.width if width is None else width) if place else None
        if width is None:
            self.trace.append(access)
        if access is None or access.path in (STACK, STATIC) or abs(access.offset) > MAX_OFFSET:
            return
        if len(self.accesses) < _MAX_ACCESSES:
            self.accesses.add(access)

    def _loaded(self, step: Step) -> Place | None:
        if step.base == RIP:
            return None
        place = self._place(step)
        if place is None or step.width != 8:
            return None
        path, offset = place
        if path is STACK:
            return self.slots.get(offset) if step.scaled == NONE else None
        if path is STATIC or len(path) > DEEPEST or abs(offset) > MAX_OFFSET:
            return None
        return (*path, offset), 0

    def _stored(self, step: Step) -> None:
        place = self._place(step)
        if place is not None and place[0] is STACK and len(self.slots) < _MAX_SLOTS:
            whole = step.width == 8 and step.scaled == NONE and step.source != NONE
            self.slots[place[1]] = self.registers[step.source] if whole else None

    def _added(self, step: Step) -> None:
        place = self.registers[step.target]
        if place is not None and step.constant is not None:
            self.registers[step.target] = (place[0], place[1] + step.constant)

    def _summed(self, step: Step) -> None:
        """A pointer and an index, whichever is which."""
        other = self._loaded(step) if step.width else self.registers[step.source]
        both = [v for v in (self.registers[step.target], other) if v and v[0] is not NUMBER]
        self.registers[step.target] = both[0] if len(both) == 1 else None

    def _pushed(self, step: Step) -> None:
        top = self.registers[RSP]
        if top is None:
            return
        top = self.registers[RSP] = (top[0], top[1] - 8)
        if len(self.slots) < _MAX_SLOTS:
            value = None if step.source == NONE or step.width else self.registers[step.source]
            self.slots[top[1]] = value

    def _popped(self, step: Step) -> None:
        top = self.registers[RSP]
        self.registers[step.target] = self.slots.get(top[1]) if top is not None else None
        if top is not None:
            self.registers[RSP] = (top[0], top[1] + 8)

    def _called(self, step: Step) -> None:
        goal = self._goal(step)
        given: Place | None = None
        if goal is not None:
            handed = tuple(self.registers[r] for r in ARGUMENTS)
            self.calls.append(Call(goal, handed))
            name = goal if isinstance(goal, str) else goal.name
            given = ((name or "?",), 0)
        elif step.kind == kinds.CALL_AT:
            self._hook(step)
            given = (("*",), 0)
        for register in LOST_BY_CALLS:
            self.registers[register] = None
        self.registers[RAX] = given

    def _goal(self, step: Step) -> "Function | str | None":
        if step.goal:
            return self.code.called(step.goal)
        return self.code.through(step.offset) if step.base == RIP else None

    def _hook(self, step: Step) -> None:
        """A call of a function that an object points to."""
        if step.width:
            self._access(step, 0)
        elif step.target != NONE:
            place = self.registers[step.target]
            if place is not None and len(place[0]) > 1 and len(self.accesses) < _MAX_ACCESSES:
                *path, offset = place[0]
                self.accesses.add(Access(tuple(path), int(offset), 0))
        for number, register in enumerate(ARGUMENTS):
            value = self.registers[register]
            if value is not None and value[0] is NUMBER:
                self.hooks.append((number, value[1]))

    def _branch(self, step: Step, after: int) -> None:
        if step.goal >= after and step.goal < self.function.end:
            self._wait(step.goal)
        elif not self.function.start <= step.goal < self.function.end:
            self._left(step)

    def _jumped(self, step: Step, after: int) -> None:
        if step.kind == kinds.JUMP:
            self._branch(step, after)
            return
        if self._goal(step) is not None:
            self._left(step)
        elif step.width:
            self._hook(step)
        elif self.compared is not None:
            self.cases.append(self.compared)

    def _left(self, step: Step) -> None:
        """A jump into another function, which returns for this one."""
        goal = self._goal(step)
        if goal is None and step.goal:
            goal = self.code.holding(step.goal)
        if goal is not None and goal != self.function:
            self.calls.append(Call(goal, tuple(self.registers[r] for r in ARGUMENTS)))

    def _wait(self, goal: int) -> None:
        """Keep what is known for a place ahead."""
        waiting = self.pending.get(goal)
        if waiting is None:
            self.pending[goal] = (list(self.registers), dict(self.slots))
            return
        _keep_common(waiting, (self.registers, self.slots))

    def _join(self, waiting: _State) -> None:
        _keep_common((self.registers, self.slots), waiting)


def _keep_common(into: _State, other: _State) -> None:
    registers, slots = into
    for register, value in enumerate(other[0]):
        if registers[register] != value:
            registers[register] = None
    for place in [p for p, value in slots.items() if other[1].get(p) != value]:
        del slots[place]
