"""Of which kind the file system under a directory is, from proc_pid_mountinfo(5)."""

import os
from typing import Final

from libswap.linux.procfs import PROC

_REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "afs", "lustre", "ocfs2",
     "gfs2", "glusterfs", "orangefs", "vboxsf", "coda", "ncpfs"}
)  # fmt: skip
"""Others can change files there without our kernel; FUSE is taken for one of them."""


def kind_of(mountinfo: bytes, device: int) -> str:
    """The type of the file system with this device number; "" where the text does not say."""
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    for line in mountinfo.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        if fields.split(b" ")[2:3] == [wanted]:
            return os.fsdecode(rest.split(b" ")[0])
    return ""


def is_remote(device: int) -> bool:
    """Whether inotify(7) would miss changes on the file system with this device number."""
    kind = kind_of(PROC.read("self", "mountinfo"), device)
    return kind in _REMOTE or kind.startswith("fuse")
