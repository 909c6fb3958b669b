"""One machine instruction as one of the few kinds that say what code knows of its objects."""

from typing import Final, NamedTuple

NONE: Final = -1
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
REGISTERS: Final = 16
ARGUMENTS: Final = (RDI, RSI, RDX, RCX, 8, 9)
"""System V psABI x86-64 section 3.2.3."""
RIP: Final = 16

OTHER, MOVE, LOAD, STORE, ADDRESS, CONSTANT, ADD, PUSH, POP, CALL, CALL_AT, JUMP, BRANCH, JUMP_AT, \
    RETURN, NOTHING, SUM, COMPARE = range(18)  # fmt: skip
"""What a step does. CALL_AT and JUMP_AT go where a register or a word in memory says; ADD adds a
number to a register, SUM another register or a word in memory."""

made: Final = tuple.__new__
"""Makes a named tuple of its fields in half the time: there are hundreds of thousands."""


class Step(NamedTuple):
    """One instruction.

    Attributes:
        kind: one of the kinds above.
        exact: equal for instructions that are equal but for the addresses that they name.
        shape: equal for those that may differ in displacements and immediates too.
        length: bytes.
        target: the register that is written (0 to 15), NONE for none.
        source: the register that is read, NONE for none.
        base: the register that a place in memory is reached from; RIP for a fixed place.
        scaled: the register that is added to it, times its scale.
        offset: the displacement; for RIP the virtual address of the place.
        width: bytes that are read or written there, 0 where there is no such place.
        constant: the immediate.
        goal: virtual address of a near branch or call; 0 for none, any other while it has no place.
        spoils: a bit for each register that is written, where the kind does not tell.
    """

    kind: int
    exact: int
    shape: int
    length: int
    target: int = NONE
    source: int = NONE
    base: int = NONE
    scaled: int = NONE
    offset: int = 0
    width: int = 0
    constant: int | None = None
    goal: int = 0
    spoils: int = 0


class Reference(NamedTuple):
    """An instruction that names a place: one outside of its function, or one in the data.

    Attributes:
        number: which it is among the steps of the function that do something.
        at: offset in the function of the four bytes of distance; -1 for a jump of a single one.
        end: offset of the next instruction, from which the distance counts.
        step: what it does, but for the place.
        near: whether it is a branch or a call.
    """

    number: int
    at: int
    end: int
    step: Step
    near: bool
