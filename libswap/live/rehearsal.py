"""Try a swap in a copy of the process first, which ends by itself whatever becomes of us."""

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import RehearsalFailed
from libswap.errors.process import ProcessGone
from libswap.live.calls import Program, Result, Returned, SystemCall
from libswap.live.choice import borrow
from libswap.live.module import Module
from libswap.live.refusal import needs_lifting
from libswap.live.runtime import runtime_of
from libswap.live.subject import Subject
from libswap.live.thread import state
from libswap.process.identity import Identity

_CLONE: Final = 56
_NANOSLEEP: Final = 35
_EXIT_GROUP: Final = 231
_WAIT4: Final = 61
_CLONE_UNTRACED: Final = 0x00800000
"""With no signal in the low byte: the parent's waitpid(2) does not see such a child."""
_WNOHANG: Final = 1
_WALL: Final = 0x40000000
_SLEEPS: Final = 4
"""A constructor that sleeps can end the sleep of the thread that it is called on (EINTR)."""
_MARGIN: Final = 30.0
_MOST_DATA: Final = 16 << 20
_TO_END: Final = 5.0
_PAUSE: Final = 0.002
_MASK: Final = (1 << 64) - 1


@contextmanager
def copied(subject: Subject, *, wait: float, work: float) -> Iterator[Identity]:
    """A copy of the process with one thread, as fork(2) makes it; it ends with the block.

    The copy sleeps and then ends, both by the code that it was born in. So it is gone some time
    after we are killed too; nobody has collected it then, and it stays a zombie of the process.
    Where we are interrupted it is ended and collected, even if that is before it is ours to use.

    Args:
        subject: the process.
        wait: seconds to wait for a thread that may be borrowed.
        work: seconds that the block may take.

    Raises:
        RehearsalFailed: no copy could be made.
        NoSafeThread: no thread could be borrowed.
        ProcessGone: the process ended.
    """
    seconds = int(wait + work + _MARGIN)
    program: Program = [
        SystemCall(_CLONE, (_CLONE_UNTRACED, 0, 0, 0, 0)),
        *[SystemCall(_NANOSLEEP, (struct.pack("<QQ", seconds, 0), 0), unless=Result(0))] * _SLEEPS,
        SystemCall(_EXIT_GROUP, (0,), unless=Result(0)),
    ]
    made: list[int] = []
    copy: Identity | None = None
    try:
        _run(subject, program, wait, made)
        if made[0] > _MASK - 4095:
            raise RehearsalFailed(subject.identity.pid, f"clone: {_refusal(made.pop())}")
        copy = _seen_from_here(subject.identity.pid, made[0])
        yield copy
    finally:
        try:
            _forget(subject, made, copy, wait)
        except KeyboardInterrupt:  # once; what had not been done then is done now
            _forget(subject, made, copy, wait)
            raise


def require_private(subject: Subject, module: Module) -> None:
    """Make sure that a library's own data lead to no memory that a copy would share.

    Raises:
        RehearsalFailed: they do, or are too large to be searched.
    """
    shared = [m for m in subject.mappings if m.shared and m.writable]
    own = [
        m for m in subject.mappings
        if m.writable and m.start < module.extent.end and module.extent.start < m.end
    ]  # fmt: skip
    pid = subject.identity.pid
    if shared and sum(m.end - m.start for m in own) > _MOST_DATA:
        raise RehearsalFailed(pid, "its data are too large to be searched for shared memory")
    for mapping in own if shared else ():
        content = subject.memory.read(mapping.start, mapping.end - mapping.start)
        for (word,) in struct.iter_unpack("<Q", content):
            if any(m.start <= word < m.end for m in shared):
                raise RehearsalFailed(
                    pid, f"not tried: its data point to shared memory ({word:#x}), which is the"
                    " process's own in a copy too",
                )  # fmt: skip


def _run(subject: Subject, program: Program, wait: float, first: list[int]) -> None:
    """Run a program, and note its first result before an interruption can be raised."""
    runtime = runtime_of(subject.modules)
    with borrow(
        subject.identity, subject.memory, avoid=runtime.avoid, deadline=time.monotonic() + wait,
        errno_location=runtime.errno_location, lift_seccomp=needs_lifting(subject.identity.pid),
    ) as thread:  # fmt: skip
        outcome = thread.run(program, timeout=wait)
        if isinstance(outcome, Returned):
            first.append(outcome.results[0])
            return
    raise RehearsalFailed(subject.identity.pid, "the system call did not come back")


def _refusal(result: int) -> str:
    return os.strerror(_MASK + 1 - result)


def _forget(subject: Subject, made: list[int], copy: Identity | None, wait: float) -> None:
    """End the copy, and let the process collect it; else it stays a zombie that only it can see."""
    for number in made:
        with suppress(LibswapError):
            _end(copy or _seen_from_here(subject.identity.pid, number))
            call = SystemCall(_WAIT4, (number, 0, _WALL | _WNOHANG, 0))
            _run(subject, [call], wait, [])


def _seen_from_here(parent: int, number: int) -> Identity:
    """The child that the process knows by a number of its own PID namespace."""
    try:
        tasks = os.listdir(f"/proc/{parent}/task")  # noqa: PTH208  names are what is wanted
    except FileNotFoundError:
        raise ProcessGone(parent) from None
    for task in tasks:
        with (
            suppress(FileNotFoundError, ProcessGone),
            open(f"/proc/{parent}/task/{task}/children") as file,  # noqa: PTH123
        ):
            for word in file.read().split():
                if _innermost(int(word)) == number:
                    return Identity.of(int(word))
    raise RehearsalFailed(parent, "its copy is not to be found")


def _innermost(pid: int) -> int:
    with suppress(FileNotFoundError), open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def _end(copy: Identity) -> None:
    """Kill it, and wait until it is a zombie that can be collected."""
    with suppress(ProcessGone, ProcessLookupError):
        copy.check()
        os.kill(copy.pid, signal.SIGKILL)
    deadline = time.monotonic() + _TO_END
    while state(copy.pid, copy.pid) not in ("Z", "", "X") and time.monotonic() < deadline:
        time.sleep(_PAUSE)
