"""What single steps do to what is known of registers and stack, and the fields they reach."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, TypeGuard

from libswap.survival import step as kinds
from libswap.survival.accesses import HANDED, Access, Answer, Handler, Probe
from libswap.survival.code import Code
from libswap.survival.library_calls import takes_pointers
from libswap.survival.places import (
    CODE,
    DEEPEST,
    FOREIGN,
    MAX_OFFSET,
    NOT_OBJECTS,
    NUMBER,
    OWN,
    STACK,
    STATIC,
    Path,
    Place,
    State,
)
from libswap.survival.step import ARGUMENTS, NONE, REGISTERS, RIP, RSP, Step, made

MOST_CASES: Final = 512
_MAX_ACCESSES: Final = 4000
_WORD: Final = 8


class Effects:
    """Of the steps of one function, one after the other.

    Attributes:
        state: what is known where the last step ended.
        accesses, trace, probes, stored, called, handlers, answers: as in a Profile.
        limit: cases of a switch, as the last comparison with a number has it.
    """

    def __init__(self, code: Code) -> None:
        self._code = code
        self.state = State.blank()
        self.accesses: set[Access] = set()
        self.trace: list[Access | None] = []
        self.probes: set[Probe] = set()
        self.stored: set[int] = set()
        self.called: set[int] = set()
        self.handlers: set[Handler] = set()
        self.answers: set[Answer] = set()
        self.limit = MOST_CASES
        self._results: dict[Path, int] = {}

    def lose(self, registers: int) -> None:
        """Forget registers, a bit for each."""
        mine = self.state.registers
        for register in _numbers(registers):
            mine[register] = None

    def reach(self, step: Step) -> None:
        """Note the place in memory that a step names."""
        place = self._place(step)
        access = made(Access, (*place, step.width)) if place else None
        self.trace.append(access)
        if access is not None:
            self._note(access)

    def call(self, step: Step) -> Place:
        """Note a call of a function that an object points to; what it gives back."""
        if step.width:
            field = (OWN, step.offset) if step.base == RIP else self._place(step)
        else:
            field = _field(self.state.registers[step.target]) if step.target != NONE else None
        if field is not None and field[0] is OWN:
            self.called.add(field[1])
        elif field is not None:
            self._note(Access(*field, 0))
            result = (f"*{field[1]}",)
            self._results[result] = field[1]
            return result, 0
        return ("*",), 0

    def named(self, step: Step) -> str | None:
        """The variable with a name that holds the function which is called, as `xmlMalloc` does."""
        if step.width:
            value = self._loaded(step)
        else:
            value = self.state.registers[step.target] if step.target != NONE else None
        return self._code.slots.get(value[1]) if value is not None and value[0] is FOREIGN else None

    def hand(self, name: str) -> None:
        """Note the members whose addresses a function of the C library is given."""
        for number in takes_pointers(name):
            value = self.state.registers[ARGUMENTS[number]]
            if _leads_on(value) and value[1] > 0:
                self._note(Access(*value, HANDED))

    def _note(self, access: Access) -> None:
        if access.path in NOT_OBJECTS or abs(access.offset) > MAX_OFFSET:
            return
        if len(self.accesses) < _MAX_ACCESSES:
            self.accesses.add(access)

    def _place(self, step: Step) -> Place | None:
        """Where a place in memory is, None if that is not known; an index is left out."""
        if step.base in (NONE, RIP):
            return None
        base = self.state.registers[step.base]
        if not _leads_on(base):
            if step.scaled == NONE:
                return None
            base = self.state.registers[step.scaled]
        return (base[0], base[1] + step.offset) if _leads_on(base) else None

    def _loaded(self, step: Step) -> Place | None:
        if step.base == RIP:
            return (OWN, step.offset) if step.width == 8 else None
        base = self.state.registers[step.base] if step.base != NONE else None
        if base is not None and base[0] is OWN and base[1] in self._code.slots:
            plain = step.width == _WORD and step.scaled == NONE and not step.offset
            return (FOREIGN, base[1]) if plain else None
        place = self._place(step)
        if place is None or step.width != 8:
            return None
        path, offset = place
        if path is STACK:
            return self.state.slots.get(offset) if step.scaled == NONE else None
        if path in NOT_OBJECTS or len(path) > DEEPEST or abs(offset) > MAX_OFFSET:
            return None
        return (*path, offset), 0

    def other(self, step: Step) -> None:
        """Forget what it changes."""
        if step.target == NONE:
            self._keep(step.source)  # a vector register takes it, which is stored as a whole
        self.lose(step.spoils)

    def _keep(self, source: int) -> None:
        value = self.state.registers[source] if source != NONE else None
        if _is_address(value):
            self.stored.add(value[1])

    def _handle(self, step: Step, place: Place | None) -> None:
        """Note a function whose address an object is given."""
        value = self.state.registers[step.source] if step.source != NONE else None
        in_object = step.base not in (NONE, RIP) and (place is None or place[0] not in NOT_OBJECTS)
        if value is not None and value[0] is CODE and step.width == _WORD and in_object:
            self.handlers.add(Handler(value[1], place[1] if place else step.offset))

    def move(self, step: Step) -> None:
        """Copy a register."""
        self.state.registers[step.target] = self.state.registers[step.source]

    def load(self, step: Step) -> None:
        """Take what a place in memory holds."""
        self.state.registers[step.target] = self._loaded(step)

    def store(self, step: Step) -> None:
        """Put a register there."""
        place = self._place(step)
        if place is None or place[0] is not STACK:
            self._keep(step.source)
            self._handle(step, place)
        else:
            whole = step.width == 8 and step.scaled == NONE and step.source != NONE
            self.state.put(place[1], self.state.registers[step.source] if whole else None)

    def address(self, step: Step) -> None:
        """Compute an address."""
        if step.base != RIP:
            self.state.registers[step.target] = self._place(step)
        elif step.offset in self._code.by_start:
            self.state.registers[step.target] = (CODE, step.offset)
        else:
            self.state.registers[step.target] = (STATIC, step.offset)

    def constant(self, step: Step) -> None:
        """Take a number."""
        self.state.registers[step.target] = (NUMBER, step.constant or 0)

    def add(self, step: Step) -> None:
        """Add a number."""
        place = self.state.registers[step.target]
        if place is not None and (place[0] is OWN or place[0] is FOREIGN):
            self.state.registers[step.target] = None
        elif place is not None and step.constant is not None:
            self.state.registers[step.target] = (place[0], place[1] + step.constant)

    def sum(self, step: Step) -> None:
        """A pointer and an index, whichever is which."""
        registers = self.state.registers
        other = self._loaded(step) if step.width else registers[step.source]
        both = [v for v in (registers[step.target], other) if _leads_on(v)]
        registers[step.target] = both[0] if len(both) == 1 else None

    def push(self, step: Step) -> None:
        """Put a value on the stack."""
        registers = self.state.registers
        top = registers[RSP]
        if top is None:
            return
        top = registers[RSP] = (top[0], top[1] - 8)
        known = step.source != NONE and not step.width
        self.state.put(top[1], registers[step.source] if known else None)

    def pop(self, step: Step) -> None:
        """Take the value on top."""
        registers = self.state.registers
        top = registers[RSP]
        registers[step.target] = self.state.slots.get(top[1]) if top is not None else None
        if top is not None:
            registers[RSP] = (top[0], top[1] + 8)

    def compare(self, step: Step) -> None:
        """A comparison, with an address of the library perhaps, or with the number of cases."""
        if step.constant is not None:
            self.limit = step.constant + 1 if 0 < step.constant < MOST_CASES else MOST_CASES
            self._answered(step)
        values = [self.state.registers[r] for r in (step.target, step.source) if r != NONE]
        addresses = [v for v in values if _is_address(v)]
        if len(addresses) == 1:
            [known] = addresses
            other = next((v for v in values if v is not known), None)
            field = self._place(step) if step.width else _field(other)
            if step.width and step.base == RIP:
                field = OWN, step.offset
            mine = field is not None and field[0] is OWN
            handed = field is not None or (other is not None and isinstance(other[0][0], int))
            handed = handed and not mine
            if known[0] is CODE or (handed and self._code.is_changeable(known[1])):
                self.probes.add(Probe(known[1], field))

    def _answered(self, step: Step) -> None:
        """A comparison of what a function that an object keeps gave back with a number."""
        if step.width or step.target == NONE or step.constant is None:
            return
        value = self.state.registers[step.target]
        if value is not None and not value[1] and value[0] in self._results:
            self.answers.add(Answer(self._results[value[0]], step.constant))


ACTS: Final[Mapping[int, Callable[[Effects, Step], None]]] = {
    kinds.OTHER: Effects.other, kinds.MOVE: Effects.move, kinds.LOAD: Effects.load,
    kinds.STORE: Effects.store, kinds.ADDRESS: Effects.address, kinds.CONSTANT: Effects.constant,
    kinds.ADD: Effects.add, kinds.SUM: Effects.sum, kinds.PUSH: Effects.push,
    kinds.POP: Effects.pop, kinds.COMPARE: Effects.compare,
}  # fmt: skip
"""What to do for each kind of step that goes nowhere else."""


@cache
def _numbers(registers: int) -> tuple[int, ...]:
    """Of the bits that are set."""
    return tuple(n for n in range(REGISTERS) if registers >> n & 1)


def _leads_on(value: Place | None) -> TypeGuard[Place]:
    """Whether it is a pointer of which it is known where it points."""
    if value is None:
        return False
    path = value[0]
    return path is not NUMBER and path is not OWN and path is not FOREIGN


def _is_address(value: Place | None) -> TypeGuard[Place]:
    """Whether it is that of a function or of data of the library."""
    return value is not None and bool(value[1]) and (value[0] is CODE or value[0] is STATIC)


def _field(value: Place | None) -> Place | None:
    """Where a value was loaded from."""
    if value is not None and value[0] is OWN:
        return value
    if value is None or value[1] or len(value[0]) < 2:
        return None
    return value[0][:-1], int(value[0][-1])
