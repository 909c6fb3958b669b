"""What a file carries besides its bytes: owner, mode, times, extended attributes, inode flags."""

import fcntl
import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Self

from libswap.linux.files import refusal

FS_IOC_GETFLAGS: Final = 0x80086601  # linux/fs.h: _IOR('f', 1, long), on 64 bits
_MADE_FOR_THE_BYTES: Final = frozenset({"security.ima", "security.evm"})
"""Hashes or signatures of the old bytes; on new ones they would make the file unreadable."""


class InodeFlags(IntFlag):
    """The flags of ioctl_iflags(2) that forbid a replacement."""

    IMMUTABLE = 0x10
    APPEND = 0x20


@dataclass(frozen=True, slots=True)
class Attributes:
    """Owner, mode, modification time and extended attributes of a regular file.

    Attributes:
        uid: owner.
        gid: group.
        mode: permission bits, with set-id and sticky.
        mtime: last modification, nanoseconds since the epoch.
        xattrs: (name, value), sorted: ACLs, capabilities and security labels are among them.
    """

    uid: int
    gid: int
    mode: int
    mtime: int
    xattrs: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, descriptor: int, path: str) -> Self:
        """Read them from an open file."""
        with refusal("read the attributes of", path):
            status = os.fstat(descriptor)
            xattrs = []
            for name in sorted(_names(descriptor)):
                with suppress(OSError):  # listed, yet not for us to read (trusted.*)
                    xattrs.append((name, os.getxattr(descriptor, name)))
        mode = stat.S_IMODE(status.st_mode)
        return cls(status.st_uid, status.st_gid, mode, status.st_mtime_ns, tuple(xattrs))

    def give_to(self, descriptor: int, path: str) -> tuple[str, ...]:
        """Give owner, mode and extended attributes (not the time) to an open file.

        In the order that keeps them: a change of owner drops capabilities and set-id bits, and an
        access ACL rewrites the group bits of the mode.

        Returns:
            What could not be carried over, in words: as an ordinary user one cannot give a file
            away, nor set a security label.
        """
        lost = []
        kept_owner = _own(descriptor, self.uid, self.gid)
        if not kept_owner:
            lost.append(f"owner {self.uid}:{self.gid}")
        present = set(_names(descriptor))
        for name, value in self.xattrs:
            if name in _MADE_FOR_THE_BYTES:
                continue
            try:
                if name not in present or os.getxattr(descriptor, name) != value:
                    os.setxattr(descriptor, name, value)
            except OSError as error:
                lost.append(f"{name} ({error.strerror})")
        with refusal("change the mode of", path):
            os.fchmod(descriptor, self.mode if kept_owner else self.mode & 0o777)
        return tuple(lost)


def _names(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError:  # a file system without any
        return []


def _own(descriptor: int, uid: int, gid: int) -> bool:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == (uid, gid):
        return True
    try:
        os.fchown(descriptor, uid, gid)
    except OSError:
        return False
    return True


def inode_flags(descriptor: int) -> InodeFlags:
    """The flags that forbid a replacement, as lsattr(1) shows them; none where there are none."""
    try:
        answer = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8))
    except OSError:  # tmpfs before 6.1, NFS and others keep no flags
        return InodeFlags(0)
    (flags,) = struct.unpack_from("I", answer)
    return InodeFlags(flags & (InodeFlags.IMMUTABLE | InodeFlags.APPEND))
