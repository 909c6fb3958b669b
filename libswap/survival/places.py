"""Where a value leads: paths from what a function is handed to what it reaches, and what is known.

A path begins at an argument (System V psABI x86-64 section 3.2.3) or at what a call gave back, and
goes from object to object by the offsets of the pointers that were loaded.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.survival.step import REGISTERS

DEEPEST: Final = 3
"""Loads in a path; what lies deeper is compared where a function gets it as an argument."""
MAX_OFFSET: Final = 1 << 20
_MAX_SLOTS: Final = 512

Path: TypeAlias = tuple[int | str, ...]
"""An argument's number, or the name of a function that gave it back, then offsets of loads."""
Place: TypeAlias = tuple[Path, int]
"""Where a pointer points: an object and an offset in it."""

NUMBER: Final[Path] = ("=",)
"""(NUMBER, n) is the number n."""
STACK: Final[Path] = ("stack",)
STATIC: Final[Path] = ("static",)
"""(STATIC, a) is the library's own data at a, (STATIC, 0) some of it."""
CODE: Final[Path] = ("code",)
"""(CODE, a) is the function that begins at a."""
OWN: Final[Path] = ("own",)
"""(OWN, a) is what the library's own data hold at a: its data are no objects that old code made."""
FOREIGN: Final[Path] = ("foreign",)
"""(FOREIGN, a) is what a variable holds whose address the dynamic linker writes to a."""
NOT_OBJECTS: Final = (STACK, STATIC, CODE, OWN, FOREIGN)


@dataclass(slots=True)
class State:
    """What the registers and the slots of the stack hold; None, or absence, for unknown values."""

    registers: list[Place | None]
    slots: dict[int, Place | None]

    @classmethod
    def blank(cls) -> "State":
        """Nothing is known."""
        return cls([None] * REGISTERS, {})

    def copy(self) -> "State":
        """What it is now."""
        return State(list(self.registers), dict(self.slots))

    def join(self, other: "State") -> None:
        """Keep what both know."""
        mine, its = self.registers, other.registers
        if mine != its:
            for register, (known, value) in enumerate(zip(mine, its, strict=True)):
                if known != value:
                    both = known and value and known[0] is value[0] is STATIC
                    mine[register] = (STATIC, 0) if both else None
        slots, others = self.slots, other.slots
        if slots != others:
            for place in [p for p, value in slots.items() if others.get(p) != value]:
                del slots[place]

    def put(self, slot: int, value: Place | None) -> None:
        """Store a value on the stack."""
        if len(self.slots) < _MAX_SLOTS or slot in self.slots:
            self.slots[slot] = value
