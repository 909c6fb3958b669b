"""Everything about a source and a destination that decides whether the one may replace the other.

Facts only; `obstacles` judges them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from libswap.errors.base import InvalidElf
from libswap.errors.install import SourceChanged
from libswap.install import store as kept
from libswap.install.candidate import Candidate, read_candidate
from libswap.install.content import Content, File, describe, keep_name, observe
from libswap.install.replace import open_source
from libswap.install.target import Target
from libswap.linux import files, mounts
from libswap.linux.attributes import InodeFlags, inode_flags
from libswap.linux.files import Directory, FileId
from libswap.linux.mounts import Mount, Place


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may write to something.

    Attributes:
        uid: owner.
        gid: group.
        mode: st_mode.
    """

    uid: int
    gid: int
    mode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Rights":
        """From a stat."""
        return cls(status.st_uid, status.st_gid, status.st_mode)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to install, read through one descriptor.

    Attributes:
        path: its real path.
        file: what it holds.
        candidate: what it says about itself as a library.
        rights: on the file.
        directory_rights: on the directory that it lies in.
    """

    path: str
    file: File
    candidate: Candidate
    rights: Rights
    directory_rights: Rights


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A mount in another process's mount namespace.

    Attributes:
        pid: a process that lives in it.
        mount: the mount.
    """

    pid: int
    mount: Mount


def require_unwritten(source: Source) -> None:
    """Make sure that all that was read of a source is of one piece: its inode did not change.

    Raises:
        SourceChanged: it was written to, or replaced.
    """
    descriptor = open_source(source.path)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    was = source.file.inode
    if was is None or (FileId.of(status), status.st_ctime_ns) != (was.id, was.ctime):
        raise SourceChanged(source.path)


@dataclass(frozen=True, slots=True)
class OldFile:
    """A regular file that would be replaced.

    Attributes:
        candidate: what it says about itself; None where it is no library.
        problem: why it is none.
        links: hard links without the one in our store.
        flags: of the inode.
    """

    candidate: Candidate | None
    problem: str
    links: int
    flags: InodeFlags


@dataclass(frozen=True, slots=True)
class Survey:
    """A destination as it is now.

    Attributes:
        target: which one.
        directory_id: the directory's inode.
        directory_rights: on it.
        directory_flags: of it.
        before: what the name stands for.
        old: more on the file that it stands for; None where that is none.
        link_before: what the SONAME link is; None where the target has none.
        superseded: the file that the SONAME link led to, whose attributes the new one takes on.
        read_only: whether the file system takes no writes.
        permitted: whether we may change names in the directory.
        free: bytes that can still be written there.
        mounted: what is mounted on it in our mount namespace.
        mounted_elsewhere: what is mounted on it in others.
        shown_elsewhere: mounts of others that show it and will go on showing the old.
    """

    target: Target
    directory_id: FileId
    directory_rights: Rights
    directory_flags: InodeFlags
    before: Content
    old: OldFile | None
    link_before: Content | None
    superseded: File | None
    read_only: bool
    permitted: bool
    free: int
    mounted: Mount | None
    mounted_elsewhere: tuple[Elsewhere, ...]
    shown_elsewhere: tuple[Elsewhere, ...]

    @property
    def predecessor(self) -> str | None:
        """The path of the library that programs use so far and that the new will stand in for."""
        if self.old is not None:
            return self.target.path if self.old.candidate is not None else None
        if self.superseded is None:
            return None
        return f"{self.target.directory.rstrip('/')}/{self.target.supersedes}"


def first_look(path: str) -> Candidate:
    """What a file that is to be installed says about itself; raises as `survey_source` does."""
    descriptor = open_source(path)
    try:
        return read_candidate(descriptor, path)
    finally:
        os.close(descriptor)


def survey_source(path: str) -> Source:
    """Read a file that is to be installed.

    Raises:
        SourceUnreadable: it is not there, or no file.
        InvalidElf: it is no shared library, or not all of one.
        SystemRefused: its directory is not where it was a moment ago.
    """
    descriptor = open_source(path)
    try:
        candidate = read_candidate(descriptor, path)
        real = os.path.realpath(path)
        above = os.path.dirname(real)  # noqa: PTH120  foreign text
        with files.refusal("look at", above):
            rights = Rights.of(os.stat(above))  # noqa: PTH116  foreign text
        return Source(
            real, describe(descriptor, path), candidate, Rights.of(os.fstat(descriptor)), rights
        )
    finally:
        os.close(descriptor)


def survey(
    target: Target,
    store: Directory | None,
    ours: tuple[Mount, ...],
    others: Mapping[int, tuple[Mount, ...]],
) -> Survey:
    """Look at a destination.

    Args:
        target: which one.
        store: the kept files, where there are any.
        ours: the mounts of our namespace.
        others: the mounts of every other mount namespace, by a process in it.
    """
    place = mounts.place_of(target.path, ours)
    everywhere = {**others, os.getpid(): ours}
    with Directory(target.directory) as directory:
        before = observe(directory, target.name)
        old = _old_file(directory, target.name, before, store)
        return Survey(
            target=target,
            directory_id=FileId.of(directory.status),
            directory_rights=Rights.of(directory.status),
            directory_flags=inode_flags(directory.descriptor),
            before=before,
            old=old,
            link_before=None if target.link is None else observe(directory, target.link),
            superseded=_superseded(directory, target.supersedes),
            read_only=files.is_read_only(directory.descriptor),
            permitted=directory.may_be_changed(),
            free=directory.free_space(),
            mounted=next((m for m in ours if m.point == target.path), None),
            mounted_elsewhere=_where(place, others, mounts.points_at),
            shown_elsewhere=_where(place, everywhere, mounts.mounts_of),
        )


def _where(
    place: Place | None,
    namespaces: Mapping[int, tuple[Mount, ...]],
    matching: Callable[[Place, tuple[Mount, ...]], tuple[Mount, ...]],
) -> tuple[Elsewhere, ...]:
    if place is None:
        return ()
    return tuple(
        Elsewhere(pid, mount)
        for pid, found in namespaces.items()
        for mount in matching(place, found)
    )


def _superseded(directory: Directory, name: str | None) -> File | None:
    old = None if name is None else observe(directory, name)
    return old if isinstance(old, File) else None


def _old_file(
    directory: Directory, name: str, before: Content, store: Directory | None
) -> OldFile | None:
    """Open once more what has just been observed; a change between is found at the commit."""
    if not isinstance(before, File):
        return None
    descriptor = directory.open(name)
    try:
        links = os.fstat(descriptor).st_nlink
        if store is not None and _is_kept(before, store):
            links -= 1
        flags = inode_flags(descriptor)
        try:
            return OldFile(read_candidate(descriptor, directory.join(name)), "", links, flags)
        except InvalidElf as error:
            return OldFile(None, error.reason, links, flags)
    finally:
        os.close(descriptor)


def _is_kept(file: File, store: Directory) -> bool:
    entry = keep_name(file)
    return (
        entry is not None and file.inode is not None and kept.links_to(store, entry, file.inode.id)
    )
