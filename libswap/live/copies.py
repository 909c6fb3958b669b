"""The copies of a library that a process has: what its record says of them, and where they are."""

from collections.abc import Sequence
from typing import NamedTuple

from libswap.errors.live import LoadFailed
from libswap.live.gate import Gate
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.registry import CopyRecord, Family, Record
from libswap.live.subject import Subject


class Copy(NamedTuple):
    """A copy that is loaded."""

    record: CopyRecord
    module: Module


def recorded(module: Module, path: str = "") -> CopyRecord:
    """What to note of a copy that libswap meets for the first time.

    Args:
        module: where it is.
        path: of its file, where the process got it in memory.
    """
    path = path or module.path
    return CopyRecord(module.link.address, module.base, path, module.facts.build_id)


def path_of(record: Record, module: Module) -> str:
    """Where the file of a module came from, whatever the process calls it."""
    copies = (c for f in record.families for c in f.copies if is_copy(c, module))
    return next((c.path for c in copies), module.path)


def family_of(record: Record, source: Module) -> Family:
    """The family that a copy belongs to; one of its own where it has never been swapped."""
    index = record.family_of(source.base)
    return Family((recorded(source),), 0) if index is None else record.families[index]


def loaded_copies(subject: Subject, family: Family, target: Module, path: str) -> tuple[Copy, ...]:
    """Every copy of a family that is still loaded, the copy to be used included.

    Args:
        subject: the process.
        family: what its record says.
        target: the copy to be used.
        path: of its file, where it has just been loaded.
    """
    found = [Copy(c, m) for c in family.copies for m in subject.modules if is_copy(c, m)]
    if all(m.base != target.base for _, m in found):
        found.append(Copy(recorded(target, path), target))
    return tuple(found)


def loaded_copy(subject: Subject, record: CopyRecord) -> Module:
    """Where a copy is.

    Raises:
        LoadFailed: it is no longer loaded, or cannot be read.
    """
    found = next((m for m in subject.modules if is_copy(record, m)), None)
    if found is None:
        raise LoadFailed(subject.identity.pid, record.path, _why_not(subject, record))
    return found


def _why_not(subject: Subject, record: CopyRecord) -> str:
    there = next((m for m in subject.modules if m.base == record.base), None)
    if there is None:
        return "a copy of it was unloaded meanwhile"
    if there.library is None:
        return f"a copy of it cannot be read: {there.reason}"
    return "another library lies where a copy of it was"


def is_copy(record: CopyRecord, module: Module) -> bool:
    """Whether a module is the copy that a record speaks of."""
    return (
        module.library is not None
        and (record.base, record.link) == (module.base, module.link.address)
        and record.build_id == module.facts.build_id
    )


def index_at(copies: Sequence[Copy], base: int) -> int:
    """Which of them is loaded there."""
    return next(i for i, copy in enumerate(copies) if copy.module.base == base)


def gates_of(record: CopyRecord) -> dict[int, Gate]:
    """The gates that a record speaks of, by entry."""
    return {
        record.base + g.entry: Gate(
            record.base + g.entry, bytes.fromhex(g.original), g.first, g.stub
        )
        for g in record.gates
    }


def library_in_use(record: Record, base: int) -> int:
    """The load base of the copy that is in use of the family that a copy belongs to."""
    index = record.family_of(base)
    if index is None:
        return base
    family = record.families[index]
    return family.copies[family.current].base


def same(one: Library, other: Library) -> bool:
    """Whether two files are the same build."""
    return one is other or bool(one.build_id and one.build_id == other.build_id)
