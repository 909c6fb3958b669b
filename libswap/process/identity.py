"""Which process is meant: its PID together with the moment it started."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC, Procfs

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
"""The unit of start times."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same PID.

    Attributes:
        pid: its PID in our PID namespace.
        start_time: clock ticks from boot to its start (proc_pid_stat(5), field 22).
    """

    pid: int
    start_time: int

    @classmethod
    def of(cls, pid: int, procfs: Procfs = PROC) -> Self:
        """The process that has this PID now.

        Raises:
            ProcessGone: there is none.
        """
        return cls(pid, start_time(pid, procfs))

    def check(self, procfs: Procfs = PROC) -> None:
        """Make sure that the PID still means this process; a zombie still is the one it was.

        Raises:
            ProcessGone: it ended, whether or not another has its PID now.
        """
        if start_time(self.pid, procfs) != self.start_time:
            raise ProcessGone(self.pid)

    def started_at(self) -> float:
        """When it started, in seconds since the epoch, within a hundredth or so."""
        return boot_time() + self.start_time / TICKS_PER_SECOND


def require_there(pids: Iterable[int], procfs: Procfs = PROC) -> None:
    """Make sure that processes which somebody named are there, before anything is done to any.

    Raises:
        ProcessGone: one is not.
    """
    for pid in pids:
        start_time(pid, procfs)


def boot_time() -> float:
    """When the machine started, in seconds since the epoch, by the clocks of this moment.

    The "btime" of proc_stat(5) is the same in whole seconds.
    """
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def parse_start_time(stat: bytes) -> int:
    """Field 22 of a process's stat; the command name before it may hold blanks and brackets."""
    return int(stat[stat.rindex(b")") + 2 :].split(None, 20)[19])


def start_time(pid: int, procfs: Procfs = PROC) -> int:
    """When the process that has this PID now started, in clock ticks from boot.

    Raises:
        ProcessGone: there is none.
    """
    try:
        return parse_start_time(procfs.read_line(pid, "stat"))
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
