"""What was swapped in running processes, read from the record that each carries."""

from collections.abc import Sequence
from dataclasses import dataclass

from libswap.errors.base import LibswapError
from libswap.live.carriers import carriers
from libswap.live.module import LibraryCache
from libswap.live.registry import Event, Family
from libswap.live.subject import Subject
from libswap.operations.draining import Left, left
from libswap.operations.moves import process_name
from libswap.process.identity import Identity


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process that libswap has changed.

    Attributes:
        families: the copies of each library, and which is in use.
        events: what was done, oldest first.
        unfinished: whether a commit was begun and not ended.
        drains: libraries of which two copies are in use, and what is known to be left of the old.
        trouble: why the record could not be read, "" where it could.
    """

    pid: int
    name: str
    families: tuple[Family, ...]
    events: tuple[Event, ...]
    unfinished: bool
    trouble: str = ""
    drains: tuple[Left, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """All of them."""

    processes: tuple[ProcessStatus, ...]


def status(pids: Sequence[int] = ()) -> Status:
    """Read the records.

    Args:
        pids: these processes; none for every process that carries a record.
    """
    cache = LibraryCache()
    return Status(tuple(_one(pid, cache) for pid in (pids or carriers())))


def _one(pid: int, cache: LibraryCache) -> ProcessStatus:
    name = process_name(pid)
    try:
        with Subject.open(Identity.of(pid), cache) as subject:
            record = subject.record
            drains = tuple(left(subject, drain) for drain in record.drains)
            unfinished = bool(record.pending) or any(d.unfinished for d in record.drains)
            return ProcessStatus(
                pid, name, record.families, record.events, unfinished, drains=drains
            )
    except LibswapError as error:
        return ProcessStatus(pid, name, (), (), unfinished=False, trouble=error.message)
