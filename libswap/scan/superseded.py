"""Whether a file that still has a name would be loaded again: moved links, files that were kept."""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libswap.linux.files import FileId
from libswap.linux.procmap import FileKey
from libswap.scan.lookup import Lookup
from libswap.scan.modules import Module
from libswap.scan.stale import Superseded, Verdict
from libswap.scan.witness import Witness

_BACKUP: Final = re.compile(
    rb"(?:~|\.~[0-9]+~|\.(?:bak|old|orig|save|prev|backup|dpkg-old|rpmsave|rpmorig))\Z"
)
"""How the names of kept files end: of install(1), cp(1), dpkg(1), rpm(8), and of people."""


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
    if not module.soname or "/" in module.soname:
        return None
    evidence = f"its DT_SONAME {module.soname}, in the same directory, leads to another file"
    return _by_path(_beside(verdict, os.fsencode(module.soname)), verdict, lookup, evidence)


def by_backup_name(verdict: Verdict, lookup: Lookup) -> Superseded | None:
    """The file is named as a backup of another that stands beside it, as install(1) -b leaves it.

    Args:
        verdict: a current file.
        lookup: finds names as the process sees them.
    """
    name = verdict.name.rpartition(b"/")[2]
    original = _BACKUP.sub(b"", name)
    if original in (b"", name):
        return None
    evidence = f"by its name it is a backup of {os.fsdecode(original)}, which is another file"
    return _by_path(_beside(verdict, original), verdict, lookup, evidence)


def by_loaded_name(
    verdict: Verdict, witness: Witness, key: FileKey, lookup: Lookup
) -> Superseded | None:
    """The process opened the file by a name that leads to another since: somebody moved it away.

    Args:
        verdict: a current file.
        witness: the process.
        key: the file as the kernel names it.
        lookup: finds names as the process sees them.
    """
    name = witness.loaded_as(key) or ""
    # A relative name may have meant another directory, and one in /proc another file.
    if not name.startswith("/") or name.startswith("/proc/"):
        return None
    root = lookup.view.root
    if lookup.view.seen(os.fsdecode(verdict.name)) is None:
        return None  # it was loaded before the process changed its root
    evidence = f"it was loaded as {name}, which leads to another file now"
    path = name if root == "/" else root + name
    return _by_path(os.fsencode(path), verdict, lookup, evidence)


def _beside(verdict: Verdict, name: bytes) -> bytes:
    return verdict.name.rpartition(b"/")[0] + b"/" + name


def _by_path(path: bytes, verdict: Verdict, lookup: Lookup, evidence: str) -> Superseded | None:
    """What a path leads to, where that is another file.

    It does so since the link there was made, or since the file was renamed and another put in its
    place: rename(2) moves the change time too, of both.
    """
    link, leads_to = lookup.status(path, follow=False), lookup.status(path)
    own = lookup.status(verdict.name)
    if (
        not isinstance(link, os.stat_result)
        or not isinstance(leads_to, os.stat_result)
        or not isinstance(own, os.stat_result)
        or not stat.S_ISREG(leads_to.st_mode)
        or FileId.of(leads_to) == verdict.file
    ):
        return None
    since = max(link.st_ctime, min(leads_to.st_ctime, own.st_ctime))
    return Superseded(since, lookup.path(path), evidence)


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
