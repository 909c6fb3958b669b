"""When processes started, read once each."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC, Procfs
from libswap.process.identity import TICKS_PER_SECOND, Identity, boot_time, start_time
from libswap.scan.shares import Shares


@dataclass(slots=True)
class Starts:
    """The start times that were asked for so far, in clock ticks from boot."""

    procfs: Procfs = PROC
    _ticks: dict[int, int] = field(default_factory=dict)

    def identity(self, pid: int) -> Identity:
        """The process that had this PID when it was first asked about.

        Raises:
            ProcessGone: it has ended.
        """
        if pid not in self._ticks:
            self._ticks[pid] = start_time(pid, self.procfs)
        return Identity(pid, self._ticks[pid])

    def before(self, moment: float, pids: Sequence[int]) -> list[int]:
        """Those of some processes that are older than a moment, the oldest first.

        Args:
            moment: seconds since the epoch.
            pids: of the processes; those that have ended are left out.
        """
        ticks = self._ticks
        for part in Shares([pid for pid in pids if pid not in ticks], self._read).parts():
            ticks.update(part)
        limit = (moment - boot_time()) * TICKS_PER_SECOND
        early = [pid for pid in pids if pid in ticks and ticks[pid] < limit]
        return sorted(early, key=ticks.__getitem__)

    def _read(self, pids: Iterable[int]) -> dict[int, int]:
        found = {}
        for pid in pids:
            with suppress(ProcessGone):
                found[pid] = start_time(pid, self.procfs)
        return found
