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
from libswap.process.identity import Identity, require_there


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

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    cache = LibraryCache()
    return Status(tuple(_one(pid, cache) for pid in (pids or carriers())))


def _one(pid: int, cache: LibraryCache) -> ProcessStatus:
    try:
        with Subject.open(Identity.of(pid), cache) as subject:
            return found_in(subject)
    except LibswapError as error:
        trouble = error.message
        return ProcessStatus(pid, process_name(pid), (), (), unfinished=False, trouble=trouble)


def found_in(subject: Subject) -> ProcessStatus:
    """What a process carries that is open."""
    pid, record = subject.identity.pid, subject.record
    drains = tuple(left(subject, drain) for drain in record.drains)
    unfinished = bool(record.pending) or any(d.unfinished for d in record.drains)
    return ProcessStatus(
        pid, process_name(pid), record.families, record.events, unfinished, drains=drains
    )
