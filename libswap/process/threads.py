"""The threads of a process: their ids, names and scheduling states."""

from dataclasses import dataclass

from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC, Procfs


@dataclass(frozen=True, slots=True, order=True)
class Thread:
    """One thread.

    Attributes:
        tid: its id in our PID namespace.
        name: what prctl(PR_SET_NAME) set.
        state: one letter of proc_pid_stat(5): R, S, D, T, t, Z, X, I.
        start_time: clock ticks from boot to its start, which tells it from a later thread.
    """

    tid: int
    name: str
    state: str
    start_time: int


def threads_of(pid: int, procfs: Procfs = PROC) -> tuple[Thread, ...]:
    """The threads that a process has at this moment, in ascending order of their ids.

    Raises:
        ProcessGone: it has ended.
    """
    found = []
    try:
        tids = procfs.tids(pid)
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    for tid in tids:
        try:
            found.append(parse_thread(procfs.read(pid, f"task/{tid}/stat")))
        except (FileNotFoundError, ProcessLookupError):
            continue
    if not found:
        raise ProcessGone(pid)
    return tuple(found)


def parse_thread(stat: bytes) -> Thread:
    """A thread from its stat file; the name in it may hold blanks and brackets."""
    opening, closing = stat.index(b"("), stat.rindex(b")")
    fields = stat[closing + 2 :].split()
    name = stat[opening + 1 : closing].decode("utf-8", "surrogateescape")
    return Thread(int(stat[:opening]), name, fields[0].decode("ascii"), int(fields[19]))
