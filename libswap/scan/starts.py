"""When processes started, read once each."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from libswap.linux.procfs import PROC, Procfs
from libswap.process.identity import TICKS_PER_SECOND, Identity, boot_time, start_time


@dataclass(slots=True)
class Starts:
    """Start times.

    Attributes:
        procfs: where those are looked up that are not known yet.
        known: those that are, in clock ticks from boot, by PID.
    """

    procfs: Procfs = PROC
    known: dict[int, int] = field(default_factory=dict)

    def identity(self, pid: int) -> Identity:
        """The process that had this PID when its start was first read.

        Raises:
            ProcessGone: it has ended.
        """
        if pid not in self.known:
            self.known[pid] = start_time(pid, self.procfs)
        return Identity(pid, self.known[pid])

    def before(self, moment: float, pids: Iterable[int]) -> list[int]:
        """Those of some processes that are older than a moment, the oldest first.

        Args:
            moment: seconds since the epoch.
            pids: of processes whose starts are known.
        """
        limit = (moment - boot_time()) * TICKS_PER_SECOND
        early = [pid for pid in pids if self.known[pid] < limit]
        return sorted(early, key=self.known.__getitem__)
