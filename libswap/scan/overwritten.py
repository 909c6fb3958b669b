"""Whether a mapped file was written to in place, so that neither its name nor its inode tells.

The times of the file are the hint, and what the dynamic linker left in the process decides. Only
the modification time can stand alone: a change time moves with every chmod, link or label.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from libswap.linux.files import birth_time
from libswap.process.maps import Mapping
from libswap.scan.relocated import Comparison, Relocated
from libswap.scan.stale import Overwritten
from libswap.scan.witness import PAGE, Witness, image_of

TOLERANCE: Final = 2.0
"""Seconds by which the clock of a file system and that of process starts may disagree."""

GRANULARITY: Final = 0.02
"""Seconds: starts are told in hundredths, rounded down, and file times in ticks of as much."""


def last_change(status: os.stat_result) -> float:
    """When a file was last written to, or its attributes changed, in seconds since the epoch.

    Its owner can set any modification time (utimensat(2)); of one to come the change time is true.
    """
    return status.st_ctime if _is_to_come(status) else max(status.st_mtime, status.st_ctime)


def _is_to_come(status: os.stat_result) -> bool:
    return status.st_mtime > time.time() + TOLERANCE


@dataclass(frozen=True, slots=True)
class FileNow:
    """A mapped file as it is on disk now.

    Attributes:
        status: its stat.
        born: its birth time in nanoseconds since the epoch; None where the file system keeps none.
        relocated: what the dynamic linker would write for it; None for no ELF file.
    """

    status: os.stat_result
    born: int | None
    relocated: Relocated | None

    @classmethod
    def of(cls, descriptor: int, name: str) -> Self:
        """Read an open file and close it; raises the kernel's OSError."""
        try:
            status, born = os.fstat(descriptor), birth_time(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        image = image_of(descriptor, name)
        return cls(status, born, None if image is None else Relocated.of(image))


def overwritten(
    now: FileNow, mappings: Sequence[Mapping], witness: Witness, started: float
) -> Overwritten | None:
    """Compare a file with what a process that maps it has made of it; None where nothing speaks.

    Args:
        now: the mapped file.
        mappings: of that file in the process, in ascending order.
        witness: the process.
        started: no later than when the process loaded the file, in seconds since the epoch.
    """
    status = now.status
    written = status.st_mtime > started and not _is_to_come(status)
    changed = status.st_mtime if written else status.st_ctime
    if is_cut_off(status, mappings):
        said = f"the file is {status.st_size} bytes long now, and mapped beyond its end"
        return Overwritten(changed, certain=True, evidence=said)
    if now.relocated is None:
        return Overwritten(changed, certain=True, evidence="it is no ELF file any more")
    found = now.relocated.compare(mappings, witness)
    if found.different:
        return Overwritten(changed, certain=True, evidence=_differs(found))
    if _written_while_mapped(status, now.born, started):
        return Overwritten(changed, certain=False, evidence=_by_time(found))
    return None


def is_cut_off(status: os.stat_result, mappings: Sequence[Mapping]) -> bool:
    """Whether a file ends a whole page before a mapping does: touching that is SIGBUS."""
    return any(m.offset + m.end - m.start - PAGE >= status.st_size for m in mappings)


def _differs(found: Comparison) -> str:
    return (
        f"{found.different} of {found.compared} words that the dynamic linker wrote when it loaded "
        "the file are not those that the file as it is now asks for"
    )


def _by_time(found: Comparison) -> str:
    said = "it was modified after the process had started, without getting a new inode"
    if not found.compared:
        return f"{said}; the memory of the process could not be compared"
    return f"{said}; the {found.compared} relocated words agree, so the layout is the same"


def _written_while_mapped(status: os.stat_result, born: int | None, started: float) -> bool:
    """A file that was made after the process began was loaded later still, and finished then."""
    in_its_time = started + GRANULARITY < status.st_mtime and not _is_to_come(status)
    return in_its_time and (born is None or born / 1e9 <= started + GRANULARITY / 2)
