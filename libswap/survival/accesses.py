"""What one function does with the objects that it is handed, as far as a run over it tells."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.survival.code import Function
from libswap.survival.places import Path, Place

HANDED: Final = -1


class Access(NamedTuple):
    """A read or write of an object.

    Width 0 stands for a call of the function it points to, HANDED for a member whose address is
    handed to the C library, as that of a string or a lock.
    """

    path: Path
    offset: int
    width: int


class Call(NamedTuple):
    """A call, or a jump out of the function: where to, and what is handed over."""

    goal: Function | str
    arguments: tuple[Place | None, ...]


class Probe(NamedTuple):
    """The address of a function, or of data, compared with what a field holds, if that is known."""

    address: int
    field: Place | None


class Handler(NamedTuple):
    """A function whose address is written to an object, and where in it."""

    function: int
    offset: int


class Answer(NamedTuple):
    """What the function that an object holds at an offset gave back, compared with a number."""

    offset: int
    number: int


@dataclass(frozen=True, slots=True)
class Profile:
    """What one function does.

    Attributes:
        accesses: of objects that did not begin with it.
        trace: for each step that names a place in memory, what it was; None if that is not known.
        calls: in the order of their addresses.
        probes: comparisons with addresses of the library.
        stored: such addresses that it writes to memory other than its stack.
        called: places in the library's own data that hold functions that it calls.
        handlers: functions that it gives to objects.
        answers: of functions that objects keep, as it tells them apart.
    """

    accesses: frozenset[Access]
    trace: tuple[Access | None, ...]
    calls: tuple[Call, ...]
    probes: frozenset[Probe]
    stored: frozenset[int]
    called: frozenset[int]
    handlers: frozenset[Handler]
    answers: frozenset[Answer]
