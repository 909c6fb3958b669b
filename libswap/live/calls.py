"""What a borrowed thread is asked to do: a short program of calls, and what came of it."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an earlier call of the same program.

    Attributes:
        index: which call, from 0.
    """

    index: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory for a call to write to; zero before, read back afterwards.

    Attributes:
        size: in bytes.
    """

    size: int


Argument: TypeAlias = int | bytes | Result | Buffer
"""A word; bytes, which become a pointer to a copy followed by a NUL; or one of the above."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of the target (System V calling convention, at most six words).

    Attributes:
        function: its address in the target.
        arguments: in order.
        given: make it only if that earlier result is not 0; else its own result is 0.
        unless: make it only if that earlier result is 0; else its own result is 0.
    """

    function: int
    arguments: tuple[Argument, ...] = ()
    given: Result | None = None
    unless: Result | None = None


@dataclass(frozen=True, slots=True)
class SystemCall:
    """Make a system call in the target; the result is -errno where it failed.

    Attributes:
        number: as in the kernel's table.
        arguments: in order.
        given: as in `Call`.
        unless: as in `Call`.
    """

    number: int
    arguments: tuple[Argument, ...] = ()
    given: Result | None = None
    unless: Result | None = None


Program: TypeAlias = list[Call | SystemCall]


@dataclass(frozen=True, slots=True)
class Returned:
    """Every call came back.

    Attributes:
        results: rax after each call, unsigned; 0 for one that was left out.
        errnos: errno after each `Call`, where the place of errno was known.
        buffers: what each `Buffer` holds, in the order of their appearance.
        strings: for each index of `read_strings`, the C string that the result points to.
    """

    results: tuple[int, ...]
    errnos: tuple[int, ...]
    buffers: tuple[bytes, ...]
    strings: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Crashed:
    """A fault was raised in the called code; the thread was brought home.

    Attributes:
        signo: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS or SIGABRT.
        address: si_addr.
        pc: where.
        results: of the calls before it.
    """

    signo: int
    address: int
    pc: int
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeftProcess:
    """The called code tried to end the process or to execute a program; it was not let to.

    Attributes:
        number: the system call.
        results: of the calls before it.
    """

    number: int
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hung:
    """The called code did not come back in time; the thread was brought home from within it.

    Attributes:
        pc: where it was.
        results: of the calls before it.
    """

    pc: int
    results: tuple[int, ...]


Outcome: TypeAlias = Returned | Crashed | LeftProcess | Hung
