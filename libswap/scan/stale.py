"""Whether a mapped file is still what its name leads to: current, deleted, replaced or unknown."""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.linux.files import FileId
from libswap.linux.procmap import FileKey
from libswap.process.maps import DELETED, Mapping
from libswap.scan.lookup import Lookup, Unreachable
from libswap.scan.witness import Witness

_KERNEL_MEMORY: Final = (
    b"/memfd:", b"/SYSV", b"/dev/zero", b"/dev/shm/", b"/anon_hugepage", b"/[aio]", b"/i915",
    b"/drm mm object", b"/dev/dri/", b"/dev/nvidia", b"/dev/kfd", b"anon_inode:", b"socket:",
)  # fmt: skip
"""How the names of shared memory and of device memory begin: files of a kind, never libraries."""


@dataclass(frozen=True, slots=True)
class Current:
    """The name leads to the mapped file."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The mapped file has lost its name, and nothing has that name now.

    Attributes:
        since: when, in seconds since the epoch; None where it cannot be told.
    """

    since: float | None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The name leads to another file now.

    Attributes:
        since: when, in seconds since the epoch; None where it cannot be told.
        by: the file that has the name now.
    """

    since: float | None
    by: FileId


@dataclass(frozen=True, slots=True)
class Superseded:
    """The mapped file still has a name, but a process that started now would load another.

    Attributes:
        since: when, in seconds since the epoch.
        by: the path that leads to the other file.
        evidence: how that is known.
    """

    since: float
    by: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The mapped file itself was written to while the process had it mapped.

    Attributes:
        since: when, in seconds since the epoch.
        certain: whether the process's memory proves it; else the times say so.
        evidence: what was found.
    """

    since: float
    certain: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class NotLibrary:
    """Shared memory, a device, or data that a program wrote itself."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Whether the mapped file is current could not be found out.

    Attributes:
        reason: why.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The name leads to another file, and libswap has moved the process onto that one."""


State: TypeAlias = (
    Current | Deleted | Replaced | Superseded | Overwritten | Moved | NotLibrary | Undecided
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a mapped file.

    Attributes:
        path: its name as its processes see it, without the kernel's " (deleted)".
        name: the same as the kernel tells it to us.
        file: the mapped inode as stat(2) numbers it; None where we may not ask.
        state: whether it is current.
    """

    path: str
    name: bytes
    file: FileId | None
    state: State


def is_kernel_memory(name: bytes) -> bool:
    """Whether a mapping of this name is shared or device memory."""
    return name.startswith(_KERNEL_MEMORY)


def is_named_by(key: FileKey, status: os.stat_result | None) -> bool:
    """Whether the numbers that the kernel's text shows are those of this file, beyond doubt."""
    return status is not None and (key.inode, os.makedev(key.major, key.minor)) == (
        status.st_ino,
        status.st_dev,
    )


def judge(key: FileKey, lookup: Lookup, witness: Witness) -> Verdict:
    """Compare a mapped file with what its name leads to.

    Args:
        key: the file as the kernel names it.
        lookup: finds names as the witness's view sees them.
        witness: a process that maps it; asked only when the name and the numbers do not settle it.

    Raises:
        OSError: the witness has ended or mapped something else meanwhile.
    """
    if not key.name:  # too long for the kernel to tell by itself; the text of maps has it
        key = key._replace(name=_mapping(key, witness).name)
    literal = lookup.status(key.name)
    if isinstance(literal, os.stat_result) and is_named_by(key, literal):
        return Verdict(lookup.path(key.name), key.name, FileId.of(literal), Current())
    name = key.name.removesuffix(DELETED)
    named = literal if name == key.name else lookup.status(name)
    truth = _truth(key, witness)
    for found, its_name in ((literal, key.name), (named, name)):
        if isinstance(found, os.stat_result) and _same(key, truth, found):
            return Verdict(lookup.path(its_name), its_name, FileId.of(found), Current())
    file = None if truth is None else FileId.of(truth)
    state = _gone(truth, named, deleted=name != key.name)
    return Verdict(lookup.path(name), name, file, state)


def _gone(
    truth: os.stat_result | None, named: os.stat_result | Unreachable | None, *, deleted: bool
) -> State:
    """The state of a mapped file that its name does not lead to."""
    if truth is not None and not stat.S_ISREG(truth.st_mode):
        return NotLibrary()
    unlinked = truth is not None and truth.st_nlink == 0
    since = truth.st_ctime if truth is not None and unlinked else None
    match named:
        case Unreachable(reason):
            return Deleted(since) if unlinked else Undecided(reason)
        case None:
            return Deleted(since) if deleted or unlinked else Undecided(_ELSEWHERE)
        case _:
            if truth is None and not deleted:
                return Undecided(_NOT_COMPARABLE)
            return Replaced(since or (named.st_ctime if deleted else None), FileId.of(named))


_ELSEWHERE: Final = (
    "it is not deleted, but its name does not lead to it (moved with its directory, or unmounted)"
)
_NOT_COMPARABLE: Final = (
    "its number differs from that of the file of its name, and only root may ask why"
)


def _mapping(key: FileKey, witness: Witness) -> Mapping:
    for mapping in witness.of(key):
        return mapping
    raise ProcessLookupError(errno.ESRCH, "the process has unmapped the file")


def _truth(key: FileKey, witness: Witness) -> os.stat_result | None:
    return witness.status(_mapping(key, witness))


def _same(key: FileKey, truth: os.stat_result | None, found: os.stat_result) -> bool:
    """Whether a file that was found is the mapped one.

    Without the mapped inode's own stat, an equal inode number is taken for the same file: devices
    are shown differently on btrfs and overlayfs, and a replaced file is marked as deleted besides.
    """
    if truth is not None:
        return FileId.of(truth) == FileId.of(found)
    return key.inode == found.st_ino and not key.name.endswith(DELETED)


def is_library(key: FileKey, witness: Witness) -> bool:
    """Whether a mapped file is an ELF file, rather than code or data that a program wrote itself.

    Where its bytes may not be read, the kernel's build id or else the name decides.

    Raises:
        OSError: the witness has ended or mapped something else meanwhile.
    """
    mapping = next(iter(witness.of(key)), None)
    if mapping is None:
        return False
    if witness.may_open(mapping):
        return witness.image(mapping) is not None
    return b".so" in key.name.rpartition(b"/")[2] or witness.build_id(mapping) is not None
