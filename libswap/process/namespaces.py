"""The mount namespace and the root that a process lives in, and paths as it sees them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.rooted import Root


@dataclass(frozen=True, slots=True, order=True)
class View:
    """What decides how a process sees a path: its mount namespace and its root directory.

    Attributes:
        mount: inode number of the mount namespace.
        root: the root directory as our own root sees it.
    """

    mount: int
    root: str

    @classmethod
    def of(cls, pid: int | str, procfs: Procfs = PROC) -> Self:
        """The view of a process; raises the kernel's `OSError`, for this is asked of thousands."""
        return cls.read(procfs.link(pid, "ns/mnt"), procfs.link(pid, "root"))

    @classmethod
    def read(cls, mount: str, root: str) -> Self:
        """The view that the links ns/mnt and root of a process stand for."""
        return cls(_number(mount), root)

    def seen(self, name: str) -> str | None:
        """The path by which a process of this view reaches a file.

        Args:
            name: what the kernel shows us, from the top of the process's mount namespace.

        Returns:
            The path from the process's own root, or None for a file outside it.
        """
        if self.root == "/":
            return name
        below = name.removeprefix(self.root)
        return below if below != name and below.startswith("/") else None


@contextmanager
def root_of(pid: int, procfs: Procfs = PROC) -> Iterator[Root]:
    """The root directory of a process, in which paths can be opened as it sees them.

    Raises:
        ProcessGone: it has ended.
        ProcessUnreadable: we may not look at it.
    """
    with _translated(pid):
        root = Root.open(procfs.path(pid, "root"))
    with root:
        yield root


def sees_proc(pid: int, procfs: Procfs = PROC) -> bool:
    """Whether a process has a /proc in its root, as after chroot(2) it mostly has not."""
    with root_of(pid, procfs) as root:
        try:
            root.stat("proc/self", follow=False)
        except OSError:
            return False
    return True


@contextmanager
def _translated(pid: int) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    except PermissionError as error:
        raise ProcessUnreadable(pid, error.strerror or "") from None


def _number(link: str) -> int:
    """The 4026531840 of "mnt:[4026531840]"."""
    return int(link.partition("[")[2].rstrip("]"))
