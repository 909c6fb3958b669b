"""The files that operations replaced, kept by content hash so that each can be taken back.

A hard link where the file system allows one: nothing is copied, the inode that running processes
have mapped stays what it is, and a rollback brings back that very inode. A copy otherwise.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from libswap.errors.install import KeptFileDamaged
from libswap.install.content import File
from libswap.linux import files
from libswap.linux.files import Directory, FileId
from libswap.linux.together import both

_PART = ".part"


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept file.

    Attributes:
        name: SHA-256 and inode number of the file that was kept.
        size: in bytes.
        kept_at: when its inode last changed, seconds since the epoch: not before it was kept.
    """

    name: str
    size: int
    kept_at: float


def keep(directory: Directory, name: str, content: File, store: Directory, entry: str) -> None:
    """Keep a file under a name in the store; it is on the disk on return.

    Args:
        directory: where the file is.
        name: its name there.
        content: what it held when the change was planned.
        store: the store.
        entry: the name to keep it under.

    Raises:
        KeptFileDamaged: a copy does not hold the bytes that were planned with.
        NoSpace, SystemRefused: it cannot be written.
    """
    if store.lstat(entry) is not None and not _is_kept(directory, name, content, store, entry):
        store.unlink(entry)
    if store.lstat(entry) is None and not directory.link(name, store, entry):
        _copy(directory, name, content, store, entry)
    store.sync()


def _is_kept(directory: Directory, name: str, content: File, store: Directory, entry: str) -> bool:
    """Whether what an earlier operation kept is this inode, or at least holds its bytes still."""
    status = directory.lstat(name)
    same_inode = status is not None and links_to(store, entry, FileId.of(status))
    return same_inode or holds(store, entry, content)


def _copy(directory: Directory, name: str, content: File, store: Directory, entry: str) -> None:
    part = entry + _PART
    store.unlink(part)
    source = directory.open(name)
    try:
        target = store.create(part)
        try:
            fill(source, target, content, store.join(part))
        finally:
            os.close(target)
    finally:
        os.close(source)
    store.rename(part, entry)


def bring_back(
    store: Directory, entry: str, content: File, directory: Directory, name: str
) -> tuple[str, ...]:
    """Make a kept file appear under a free name, synced, with the attributes that it had.

    The inode itself comes back where it was kept by a link and is still what it was.

    Returns:
        What could not be carried over, in words.

    Raises:
        KeptFileDamaged: the kept file is missing, or its bytes have changed since.
    """
    if store.lstat(entry) is None:
        raise KeptFileDamaged(store.join(entry), "it is gone from the store")
    source = store.open(entry)
    try:
        if files.sha256(source, store.join(entry)) != content.sha256:
            raise KeptFileDamaged(store.join(entry), "its bytes are not those that were kept")
        if _is_inode(source, content) and store.link(entry, directory, name):
            return ()
        target = directory.create(name)
        try:
            return fill(source, target, content, directory.join(name))
        finally:
            os.close(target)
    finally:
        os.close(source)


def fill(source: int, target: int, content: File, path: str) -> tuple[str, ...]:
    """Copy a file with its attributes and time, verify the copy, and sync it.

    Returns:
        What could not be carried over, in words.
    """
    files.copy(source, target, content.size, path)
    lost: tuple[str, ...] = ()
    if content.attributes is not None:
        lost = content.attributes.give_to(target, path)
        with files.refusal("set the time of", path):
            os.utime(target, ns=(content.attributes.mtime, content.attributes.mtime))
    _, digest = both(lambda: files.sync(target, path), lambda: files.sha256(target, path))
    if digest != content.sha256:
        raise KeptFileDamaged(path, "the copy does not hold the same bytes")
    return lost


def holds(store: Directory, entry: str, content: File) -> bool:
    """Whether a kept file is there, whole."""
    if store.lstat(entry) is None:
        return False
    descriptor = store.open(entry)
    try:
        return files.sha256(descriptor, store.join(entry)) == content.sha256
    finally:
        os.close(descriptor)


def links_to(store: Directory, entry: str, inode: FileId) -> bool:
    """Whether a kept file is the very inode; it then accounts for one of its links."""
    status = store.lstat(entry)
    return status is not None and FileId.of(status) == inode


def entries(store: Directory) -> tuple[Entry, ...]:
    """Every kept file, oldest first."""
    found = []
    for name in store.names():
        status = store.lstat(name)
        if status is not None and files.is_regular(status):
            found.append(Entry(name, status.st_size, status.st_ctime))
    return tuple(sorted(found, key=lambda entry: (entry.kept_at, entry.name)))


def superfluous(
    kept: Iterable[Entry],
    referenced: Collection[str],
    latest: Collection[str],
    *,
    max_files: int,
    max_bytes: int,
) -> tuple[Entry, ...]:
    """Which kept files to let go of: orphans first, then the oldest until the limits hold.

    Args:
        kept: every kept file, oldest first.
        referenced: names that the history needs for some rollback.
        latest: names that the next rollback of a file needs; they always stay.
        max_files: how many may stay.
        max_bytes: how much may stay.
    """
    orphans = [e for e in kept if e.name not in referenced]
    rest = [e for e in kept if e.name in referenced]
    count, size = len(rest), sum(e.size for e in rest)
    gone = []
    for entry in rest:
        if count <= max_files and size <= max_bytes:
            break
        if entry.name not in latest:
            gone.append(entry)
            count, size = count - 1, size - entry.size
    return (*orphans, *gone)


def remove(store: Directory, names: Iterable[str]) -> None:
    """Let go of kept files, and of copies of them that a crash left half done."""
    removed = [store.unlink(name + end) for name in names for end in ("", _PART)]
    if any(removed):
        store.sync()


def _is_inode(descriptor: int, content: File) -> bool:
    """Whether this can be the inode that was kept; on another file system a link is refused."""
    return content.inode is not None and os.fstat(descriptor).st_ino == content.inode.id.inode
