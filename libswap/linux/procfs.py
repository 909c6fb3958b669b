"""Raw text and links of proc(5), under a root that tests can move."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from libswap.errors.base import SystemRefused

_CHUNK: Final = 1 << 16
_LINE: Final = 4096


@dataclass(frozen=True, slots=True)
class Procfs:
    """One mounted proc file system.

    Every method hands on the `OSError` of the kernel: ESRCH or ENOENT for a process that ended,
    EACCES or EPERM for one that we may not look at.

    Attributes:
        root: where it is mounted.
    """

    root: str = "/proc"

    def pids(self) -> Iterator[int]:
        """The PID of every process in this PID namespace, in no order.

        Raises:
            SystemRefused: it is not mounted, which must not pass for a machine without processes.
        """
        if not os.path.lexists(f"{self.root}/self"):
            reason = f"nothing is mounted there; try: mount -t proc proc {self.root}"
            raise SystemRefused("look for processes in", self.root, reason)
        return (int(name) for name in os.listdir(self.root) if name.isdecimal())

    def other_pids(self) -> Iterator[int]:
        """The same without our own: who looks is not what is looked for."""
        own = os.getpid()
        return (pid for pid in self.pids() if pid != own)

    def tids(self, pid: int) -> tuple[int, ...]:
        """The thread ids of a process: the leader's, then the others in ascending order.

        Ids start anew behind pid_max, so that a thread's may be lower than its leader's.
        """
        found = map(int, os.listdir(f"{self.root}/{pid}/task"))
        return tuple(sorted(found, key=lambda tid: (tid != pid, tid)))

    def read(self, pid: int | str, name: str) -> bytes:
        """All of a file of a process, such as "maps" or "task/7/stat"; `pid` may be "self"."""
        return self.read_file(f"{pid}/{name}")

    def read_line(self, pid: int, name: str) -> bytes:
        """A file of a process that is one short line, such as "stat" or "comm", in one read."""
        descriptor = os.open(f"{self.root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _LINE)
        finally:
            os.close(descriptor)

    def read_file(self, name: str) -> bytes:
        """All of a file below the root, such as "stat"."""
        descriptor = os.open(f"{self.root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_all(descriptor)
        finally:
            os.close(descriptor)

    def hides_others(self) -> bool:
        """Whether it is mounted so that other users' processes are not listed (hidepid)."""
        hidden = False
        for line in self.read("self", "mountinfo").split(b"\n"):
            fields, _, kind = line.partition(b" - ")
            if kind.startswith(b"proc ") and fields.split(b" ")[4] == os.fsencode(self.root):
                hidden = re.search(rb"\bhidepid=(?!0|off)", kind) is not None
        return hidden  # as the last one says, which covers those before it

    def link(self, pid: int | str, name: str) -> str:
        """Where a link of a process leads, such as "exe", "root" or "ns/mnt"."""
        return os.readlink(f"{self.root}/{pid}/{name}")

    def path(self, pid: int | str, name: str) -> str:
        """The path of a file of a process, to be opened or stat'ed through."""
        return f"{self.root}/{pid}/{name}"


def read_all(descriptor: int) -> bytes:
    """Everything up to the end of the file; proc files give it in small pieces."""
    first = os.read(descriptor, _CHUNK)
    pieces = [first]
    while pieces[-1]:
        pieces.append(os.read(descriptor, _CHUNK))
    return first if len(pieces) <= 2 else b"".join(pieces)


PROC: Final = Procfs()
"""The machine's own."""
