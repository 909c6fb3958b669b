"""The loaded modules of a process: link map, mappings and file brought together."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from libswap.elf.debugfile import with_symbols
from libswap.elf.image import Image
from libswap.elf.link_map import LinkMap
from libswap.errors.base import InvalidElf, SystemRefused
from libswap.linux.memory import Range
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.rooted import Root
from libswap.live.library import Finder, Library
from libswap.process.maps import Mapping

_CACHED_LIBRARIES: Final = 512


class FileKey(NamedTuple):
    """Which file a mapping shows, as its line in maps says it."""

    major: int
    minor: int
    inode: int


@dataclass(frozen=True, slots=True)
class Module:
    """One loaded module.

    Attributes:
        link: what the dynamic linker says.
        extent: from its first mapped byte to behind its last one.
        file: the file that is mapped, which its path may no longer lead to.
        path: where that file was, as the kernel names it.
        library: its facts, or None for what could not be read (`reason` says why).
        reason: "" or why there are no facts.
    """

    link: LinkMap
    extent: Range
    file: FileKey
    path: str
    library: Library | None = field(compare=False)
    reason: str = ""

    @property
    def base(self) -> int:
        """What is added to a virtual address of the file."""
        return self.link.base

    @property
    def facts(self) -> Library:
        """The library's facts, where the caller has seen to it that there are some."""
        assert self.library is not None  # noqa: S101
        return self.library


_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What we are short of ourselves."""
Opener = Callable[[Mapping], Library]
"""Gives the facts of the file behind a mapping, or raises OSError or InvalidElf."""


class LibraryCache:
    """Facts of files by what the file is, shared by all processes of one run."""

    def __init__(self, roots: Sequence[Root] = (), finder: Finder | None = None) -> None:
        """Begin empty.

        Args:
            roots: below which symbols that were split off are looked for.
            finder: what finds the counterparts of things without names.
        """
        self._roots = roots
        self._finder = finder
        self._known: dict[tuple[int, int, int, int], Library] = {}

    def open(self, path: str) -> Library:
        """The facts of the file at a path or a map_files link.

        Raises:
            OSError: it cannot be opened.
            InvalidElf: it is no ELF file.
        """
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidElf(path, "it is no regular file")
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._known:
            if len(self._known) >= _CACHED_LIBRARIES:
                self._known.pop(next(iter(self._known)))
            image = Image.open(path)
            debug = with_symbols(image, os.path.realpath(path), self._roots)
            self._known[key] = Library(image, debug, self._finder)
        return self._known[key]

    def opener(self, pid: int, procfs: Procfs = PROC) -> Opener:
        """Opens what this process has mapped: the very file, removed or replaced as it may be."""

        def opened(mapping: Mapping) -> Library:
            link = procfs.path(pid, f"map_files/{mapping.start:x}-{mapping.end:x}")
            try:
                return self.open(link)
            except PermissionError:
                # map_files needs CAP_CHECKPOINT_RESTORE; a path will do if it is the same inode.
                path = procfs.path(pid, "root") + os.fsdecode(mapping.name)
                if Path(path).stat().st_ino != mapping.inode:
                    raise
                return self.open(path)

        return opened


def modules(
    links: Sequence[LinkMap], mappings: Sequence[Mapping], opener: Opener
) -> tuple[Module, ...]:
    """Every module that has a file, in link-map order; the vDSO has none and is left out."""
    return tuple(_modules(links, mappings, opener))


def _modules(
    links: Sequence[LinkMap], mappings: Sequence[Mapping], opener: Opener
) -> Iterator[Module]:
    for link in links:
        own = _mapping_at(mappings, link.dynamic)
        if own is None:
            continue
        key = FileKey(own.major, own.minor, own.inode)
        if not key.inode:
            continue
        path = os.fsdecode(own.name.removesuffix(b" (deleted)"))
        reason, library = "", None
        try:
            library = opener(own)
            low, high = library.extent
            extent = Range(link.base + low, link.base + high)
        except (OSError, InvalidElf, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _OURS:
                # It says nothing about the file, and without its facts nothing would be done.
                raise SystemRefused("open", path, error.strerror or "") from None
            reason = str(error)
            extent = _extent_of(mappings, own)
        yield Module(link, extent, key, path, library, reason)


def _mapping_at(mappings: Sequence[Mapping], address: int) -> Mapping | None:
    return next((m for m in mappings if m.start <= address < m.end), None)


def _extent_of(mappings: Sequence[Mapping], own: Mapping) -> Range:
    same = [m for m in mappings if (m.major, m.minor, m.inode) == own[3:6]]
    return Range(min(m.start for m in same), max(m.end for m in same))
