"""Why a traced thread stopped, and waiting for the next such moment with a deadline."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.linux import ptrace
from libswap.linux.scheduling import give_way

_GROUP_STOP_SIGNALS: Final = frozenset(
    {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
)
_SYSTEM_CALL_SIGNAL: Final = signal.SIGTRAP | 0x80  # PTRACE_O_TRACESYSGOOD
_LOOKS_BEFORE_YIELDING: Final = 6
_YIELDS_BEFORE_SLEEPING: Final = 200
_SLEEP: Final = 0.0002


@dataclass(frozen=True, slots=True)
class Trapped:
    """Stopped because we asked, about to go back to user mode.

    Attributes:
        group: whether job control has the process stopped, so that it must stay so.
    """

    group: bool


@dataclass(frozen=True, slots=True)
class Signalled:
    """About to take a signal, which is lost unless it is passed on."""

    signo: int


@dataclass(frozen=True, slots=True)
class SystemCall:
    """On its way into a system call or out of it."""


@dataclass(frozen=True, slots=True)
class Cloned:
    """It made a thread, which is traced from its first instruction on."""


@dataclass(frozen=True, slots=True)
class Executed:
    """Its process now runs another program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It is no more."""


Stop: TypeAlias = Trapped | Signalled | SystemCall | Cloned | Executed | Ended


def decode(status: ptrace.Status) -> Stop:
    """What a wait status of a seized thread means (ptrace(2), "Stopped states")."""
    if not status.stopped:
        return Ended()
    match status.event:
        case ptrace.Event.STOP:
            return Trapped(group=status.signo in _GROUP_STOP_SIGNALS)
        case ptrace.Event.CLONE:
            return Cloned()
        case ptrace.Event.EXEC:
            return Executed()
        case 0 if status.signo == _SYSTEM_CALL_SIGNAL:
            return SystemCall()
        case 0:
            return Signalled(status.signo)
        case other:
            raise AssertionError(f"ptrace event {other} was not asked for")


def poll(tid: int) -> Stop | None:
    """What happened to a thread, None where nothing did yet."""
    try:
        status = ptrace.wait(tid)
    except ChildProcessError:
        return Ended()
    return decode(status) if status else None


def wait(tid: int, deadline: float) -> Stop | None:
    """What happens next to a thread, None where nothing does until `deadline` (monotonic)."""
    return until(lambda: poll(tid), deadline)


def until(
    ask: Callable[[], Stop | None], deadline: float, clock: Callable[[], float] = time.monotonic
) -> Stop | None:
    """Ask again and again: at once, then giving way to others, later sleeping in between.

    A wait that blocks has no time-out, and a stop comes within microseconds as a rule.
    """
    for round_ in range(1 << 62):
        answer = ask()
        if answer is not None or clock() >= deadline:
            return answer
        if round_ < _LOOKS_BEFORE_YIELDING:
            continue  # a thread on another processor stops while we look
        if round_ < _YIELDS_BEFORE_SLEEPING:
            give_way()
        else:
            time.sleep(_SLEEP)
    raise AssertionError("unreachable")
