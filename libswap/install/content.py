"""What a name in a directory stands for: nothing, a symbolic link, or a file."""

import os
from dataclasses import dataclass
from typing import TypeAlias

from libswap.elf.contents import FileBytes
from libswap.elf.dynamic import read_dynamic
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.errors.base import InvalidElf
from libswap.errors.install import NotReplaceable
from libswap.linux import files
from libswap.linux.attributes import Attributes
from libswap.linux.files import Directory, FileId


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no such name."""


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link.

    Attributes:
        text: what it holds.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Inode:
    """One inode for as long as it lives, and after: numbers are given out again, birth times not.

    Attributes:
        id: device and inode number.
        birth: nanoseconds since the epoch; None where the file system does not say.
        ctime: last change of the inode, nanoseconds since the epoch.
    """

    id: FileId
    birth: int | None
    ctime: int


@dataclass(frozen=True, slots=True)
class File:
    """A regular file, by what it holds.

    Attributes:
        sha256: of its bytes, hexadecimal.
        size: in bytes.
        soname: DT_SONAME, where it is a library that has one.
        build_id: of the library, hexadecimal.
        attributes: owner, mode, extended attributes; None for those of a file that is new.
        inode: which one; None while it does not exist yet.
    """

    sha256: str
    size: int
    soname: str | None
    build_id: str | None
    attributes: Attributes | None
    inode: Inode | None


Content: TypeAlias = Nothing | Link | File


def observe(directory: Directory, name: str) -> Content:
    """What a name stands for now.

    Raises:
        NotReplaceable: a directory, a device, a socket or a FIFO.
        SystemRefused: it may not be read.
    """
    status = directory.lstat(name)
    if status is None:
        return Nothing()
    if files.is_link(status):
        return Link(directory.readlink(name))
    if not files.is_regular(status):
        raise NotReplaceable(directory.join(name))
    descriptor = directory.open(name)
    try:
        return describe(descriptor, directory.join(name))
    finally:
        os.close(descriptor)


def describe(descriptor: int, path: str) -> File:
    """What an open regular file holds; whether it is a library makes no difference."""
    status = os.fstat(descriptor)
    soname, build = _library_facts(descriptor, path)
    inode = inode_of(descriptor)
    return File(
        files.sha256(descriptor, path),
        status.st_size,
        soname,
        build,
        Attributes.of(descriptor, path),
        inode,
    )


def inode_of(descriptor: int) -> Inode:
    """The inode of an open file."""
    status = os.fstat(descriptor)
    return Inode(FileId.of(status), files.birth_time(descriptor), status.st_ctime_ns)


def same(left: Content, right: Content) -> bool:
    """Whether two contents are one for whoever opens the name: bytes count, inodes do not."""
    match left, right:
        case File(), File():
            return (left.sha256, left.size) == (right.sha256, right.size)
        case _:
            return left == right


def keep_name(content: Content) -> str | None:
    """The name under which the store keeps a file: by its bytes first, and by its inode.

    Without the device, whose number can be another after a reboot.
    """
    match content:
        case File(sha256=digest, inode=inode) if inode is not None:
            return f"{digest}-{inode.id.inode:x}"
        case _:
            return None


def _library_facts(descriptor: int, path: str) -> tuple[str | None, str | None]:
    try:
        image = Image(FileBytes(descriptor), path)
        dynamic = read_dynamic(image)
        return (dynamic.soname if dynamic else None), build_id(image)
    except InvalidElf:
        return None, None
