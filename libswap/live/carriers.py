"""The processes that carry a record of libswap, read from outside, without stopping anything."""

from collections.abc import Iterator
from contextlib import suppress

from libswap.linux.memory import ProcessMemory
from libswap.linux.procfs import PROC
from libswap.live.registry import MAPPED, Record, find
from libswap.process.identity import Identity
from libswap.process.maps import maps_of


def carriers() -> Iterator[int]:
    """Their PIDs, in ascending order."""
    for pid in sorted(PROC.pids()):
        with suppress(OSError):
            if _carries(pid):
                yield pid


def record_of(identity: Identity) -> Record:
    """What a process says of itself; an empty record where it says nothing.

    Raises:
        OSError: it cannot be looked at.
        ProcessGone, ProcessUnreadable: likewise.
        RecordDamaged: what it carries cannot be trusted.
    """
    if not _carries(identity.pid):
        return Record()
    with ProcessMemory(identity.pid) as memory:
        identity.check(PROC)
        place = find(memory, maps_of(identity.pid), identity.pid)
    return place.record if place else Record()


def _carries(pid: int) -> bool:
    return MAPPED in PROC.read(pid, "maps")
