"""Which copies of a library in a process are meant, and what they are to become."""

import os
from functools import lru_cache
from pathlib import Path

from libswap.abi.catalogue import DATA_GREW, SYMBOL_REMOVED
from libswap.abi.compare import compare
from libswap.abi.finding import Finding, Severity
from libswap.elf.library import read_library
from libswap.errors.live import LoadFailed
from libswap.errors.process import ProcessUnreadable
from libswap.linux.rooted import Root
from libswap.live.alias import plain
from libswap.live.copies import library_in_use, same
from libswap.live.draining.outlook import imported_by_others
from libswap.live.got import copied_objects
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.move import Move
from libswap.live.registry import Event
from libswap.live.spelling import is_spelled
from libswap.live.subject import Subject
from libswap.operations.survival import Survival, survival_of_objects
from libswap.process.namespaces import root_of


def way_back(subject: Subject, id_: str) -> tuple[Move, ...]:
    """What takes a swap back.

    Raises:
        LoadFailed: a copy is no longer loaded, or its file cannot be read.
    """
    record = subject.record
    return tuple(_back(subject, e) for e in record.events if e.id == id_)


def _back(subject: Subject, event: Event) -> Move:
    source = next((m for m in subject.modules if m.base == event.new_base), None)
    target = next((m for m in subject.modules if m.base == event.old_base), None)
    if source is None or target is None or target.library is None or source.library is None:
        raise LoadFailed(subject.identity.pid, event.library, "its copy is no longer loaded")
    return Move(source, target.facts, target.path, loaded=target)


def affected(subject: Subject, library: Path, new: Library) -> list[Module]:
    """The copies in use that the new file is to replace, one in each namespace.

    A module is meant if its name leads to the same file as `library`, or if it has the same path.

    Raises:
        ProcessUnreadable: one is meant, and the file that is mapped may not be read.
    """
    real = os.path.realpath(library)
    try:
        wanted = Path(real).stat()
    except OSError:
        wanted = None
    record = subject.record
    found: dict[int, Module] = {}
    with root_of(subject.memory.tid) as root:
        for module in subject.modules:
            if module is subject.modules[0] or _left_behind(subject, module):
                continue
            if module.path == real or _leads_to(root, module.link.name, wanted):
                if module.library is None:
                    raise ProcessUnreadable(subject.identity.pid, f"{module.path}: {module.reason}")
                base = library_in_use(record, module.base)
                current = next((m for m in subject.modules if m.base == base), module)
                if current.library is not None and not same(current.facts, new):
                    found[base] = current
    return list(found.values())


def _left_behind(subject: Subject, module: Module) -> bool:
    """Whether a killed libswap had loaded it, beside the one in use, and nobody was given it."""
    return (
        is_spelled(module.link.name)
        and subject.record.family_of(module.base) is None
        and any(
            other.path == module.path
            and other.link.namespace == module.link.namespace
            and not is_spelled(other.link.name)
            for other in subject.modules
        )
    )


def _leads_to(root: Root, name: str, wanted: os.stat_result | None) -> bool:
    if wanted is None or not name.startswith("/"):
        return False
    try:
        status = root.stat(name)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)


def copy_of(subject: Subject, source: Module, new: Library) -> Module | None:
    """A copy of the new build that an earlier swap loaded, and that is not in use."""
    record = subject.record
    index = record.family_of(source.base)
    if index is None:
        return None
    bases = {(c.base, c.link) for c in record.families[index].copies} - {
        (source.base, source.link.address)
    }
    return next(
        (m for m in subject.modules if (m.base, m.link.address) in bases and m.library
         and same(m.facts, new)), None,
    )  # fmt: skip


def sees(subject: Subject, file: Path) -> bool:
    """Whether a path leads the process to the same file as us."""
    wanted = file.stat()
    with root_of(subject.memory.tid) as root:
        return _leads_to(root, str(file), wanted)


def broken_by(source: Module, new: Library) -> tuple[str, ...]:
    """What makes the new library incompatible with a copy in use, in words."""
    return tuple(map(_told, abi_breaks(plain(source, new.dynamic.soname or ""), new)))


def broken_beside(subject: Subject, source: Module, new: Library) -> tuple[str, ...]:
    """Likewise where a copy stays in use beside the new one.

    What is gone goes on in the old copy, unless something may yet bind to it by name; data that
    grew have no room only where the program holds a copy of them.
    """
    copied = frozenset(copied_objects(subject.modules[0]) if subject.modules[0].library else ())
    bound = {
        SYMBOL_REMOVED.id: copied | imported_by_others(subject, source), DATA_GREW.id: copied,
    }  # fmt: skip
    found = abi_breaks(plain(source, new.dynamic.soname or ""), new)
    return tuple(
        _told(f) for f in found
        if f.symbol is None or f.rule not in bound or f.symbol.name in bound[f.rule]
    )  # fmt: skip


def judged_by(source: Module, new: Library, state_dir: Path | None) -> Survival:
    """Whether objects of a copy in use survive in the new library."""
    return survival_of_objects(plain(source, new.dynamic.soname or ""), new, state_dir)


@lru_cache(maxsize=32)
def abi_breaks(old: Library, new: Library) -> tuple[Finding, ...]:
    """What makes the new library incompatible."""
    found = compare(read_library(old.image), read_library(new.image))
    return tuple(f for f in found if f.severity is Severity.INCOMPATIBLE)


def _told(finding: Finding) -> str:
    return f"{finding.subject}: {finding.meaning}"
