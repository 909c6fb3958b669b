"""Whether a file that still has a name would be loaded again: links that moved, kept old files."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from libswap.linux.files import FileId
from libswap.scan.lookup import Lookup
from libswap.scan.modules import Module
from libswap.scan.stale import Superseded, Verdict


@dataclass(frozen=True, slots=True)
class Record:
    """A file that was replaced, as a history of installations knows it.

    An inode number is given to a new file as soon as the old one is gone: the birth time and the
    build id tell whether it is still the same file.

    Attributes:
        path: which name led to it.
        file: its inode.
        since: when it was replaced, in seconds since the epoch.
        born: its birth time in nanoseconds since the epoch; None where it is not known.
        build_id: its build id; None for none.
    """

    path: str
    file: FileId
    since: float
    born: int | None
    build_id: str | None


def by_soname(verdict: Verdict, module: Module, lookup: Lookup) -> Superseded | None:
    """The DT_SONAME beside the file leads elsewhere.

    Whoever loaded the file since then chose it by its own name, and would again.

    Args:
        verdict: a current file.
        module: the same as the dynamic linker knows it.
        lookup: finds names as the process sees them.
    """
    if not module.soname or "/" in module.soname or verdict.file is None:
        return None
    folder = verdict.name.rpartition(b"/")[0]
    name = folder + b"/" + os.fsencode(module.soname)
    leads_to, link = lookup.status(name), lookup.status(name, follow=False)
    if not isinstance(leads_to, os.stat_result) or not isinstance(link, os.stat_result):
        return None
    if FileId.of(leads_to) == verdict.file:
        return None
    evidence = f"its DT_SONAME {module.soname}, in the same directory, leads to another file"
    return Superseded(link.st_ctime, lookup.path(name), evidence)


def by_record(
    verdict: Verdict,
    born: int | None,
    build_id: str | None,
    lookup: Lookup,
    records: Iterable[Record],
) -> Superseded | None:
    """A history says that this very file was replaced under another name.

    Args:
        verdict: a current file.
        born: its birth time, as in `Record`.
        build_id: its build id.
        lookup: finds names as the process sees them.
        records: what was replaced.
    """
    for record in records:
        if (
            record.file == verdict.file
            and record.path != verdict.path
            and record.build_id == build_id
            and (record.born is None or born is None or record.born == born)
            and not _leads_back(record, lookup)
        ):
            evidence = f"it was {record.path} until that was replaced, and is kept under this name"
            return Superseded(record.since, record.path, evidence)
    return None


def _leads_back(record: Record, lookup: Lookup) -> bool:
    """Whether the replacement was undone since."""
    now = lookup.status(os.fsencode(record.path))
    return isinstance(now, os.stat_result) and FileId.of(now) == record.file
