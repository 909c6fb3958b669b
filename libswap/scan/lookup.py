"""What the name of a mapped file leads to now, for the processes that share a view of the files."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libswap.elf.image import Image
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.rooted import Root
from libswap.process.namespaces import View
from libswap.scan.witness import image_of


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A name could not be looked up, which says nothing about the file.

    Attributes:
        reason: why not.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Looks names up as one view sees them.

    Attributes:
        view: whose.
        root: the view's root directory; None when nobody was left or let us.
        top: the root directory that the kernel's names start from, when that is ours too.
    """

    view: View
    root: Root | None
    top: Root | None

    def path(self, name: bytes) -> str:
        """The name as the processes themselves would say it."""
        text = os.fsdecode(name)
        return self.view.seen(text) or text

    def status(self, name: bytes, *, follow: bool = True) -> os.stat_result | Unreachable | None:
        """The stat of the file that has this name now; None for no such file."""
        try:
            root, path = self._at(name)
            return root.stat(path, follow=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            return Unreachable(getattr(error, "strerror", None) or str(error))

    def image(self, name: bytes) -> Image | None:
        """The ELF file that has this name now, or None for none that can be read."""
        try:
            return image_of(self.open(name), self.path(name))
        except OSError:
            return None

    def open(self, name: bytes) -> int:
        """A descriptor of the regular file that has this name now; raises the kernel's OSError."""
        root, path = self._at(name)
        return root.open_regular(path)

    def image_seen(self, path: str) -> Image | None:
        """The ELF file at a path as the processes themselves say it."""
        if self.root is None:
            return None
        try:
            return image_of(self.root.open_regular(path), path)
        except OSError:
            return None

    def _at(self, name: bytes) -> tuple[Root, str]:
        """The directory to start from, and the path from there."""
        text = os.fsdecode(name)
        seen = self.view.seen(text)
        root = self.top if seen is None else self.root
        if root is None or not text.startswith("/"):
            raise OSError(errno.EXDEV, "it cannot be looked up where the process lives")
        return root, seen or text


@contextmanager
def lookup_of(view: View, pids: Iterable[int], procfs: Procfs = PROC) -> Iterator[Lookup]:
    """Look names up as `view` sees them, through the first of its processes that still lives."""
    top = Root.open("/") if View.of("self", procfs).mount == view.mount else None
    root = _root(view, pids, procfs)
    try:
        yield Lookup(view, root, top)
    finally:
        for opened in (root, top):
            if opened is not None:
                opened.close()


def _root(view: View, pids: Iterable[int], procfs: Procfs) -> Root | None:
    for pid in pids:
        try:
            root = Root.open(procfs.path(pid, "root"))
        except OSError:
            continue
        if _still_has(view, pid, procfs):
            return root
        root.close()
    return None


def _still_has(view: View, pid: int, procfs: Procfs) -> bool:
    try:
        return View.of(pid, procfs) == view
    except OSError:
        return False
