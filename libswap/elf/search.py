"""Where the dynamic linker finds the libraries that a file needs, as one process would see it.

Sources: ld.so(8); glibc's elf/dl-load.c (_dl_map_object); musl's ldso/dynlink.c (load_library).
Every path is looked up inside a root directory, which no link leads out of.
"""

import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from libswap.elf.contents import FileBytes
from libswap.elf.format import EM_386, EM_AARCH64, EM_X86_64, Target
from libswap.elf.image import Image
from libswap.elf.ldcache import MAX_SIZE, PATH, Cache
from libswap.elf.library import Library
from libswap.linux.rooted import Root

_MAX_DIRECTORIES: Final = 256
"""Of one search path; a longer one is somebody's mistake or malice."""
_TRIPLETS: Final = {
    (EM_X86_64, 64): "x86_64-linux-gnu", (EM_X86_64, 32): "x86_64-linux-gnux32",
    (EM_386, 32): "i386-linux-gnu", (EM_AARCH64, 64): "aarch64-linux-gnu",
    (40, 32): "arm-linux-gnueabihf", (243, 64): "riscv64-linux-gnu",
    (21, 64): "powerpc64le-linux-gnu", (22, 64): "s390x-linux-gnu",
}  # fmt: skip
"""Debian's directory names by machine and class."""
_PLATFORMS: Final = {EM_X86_64: "x86_64", EM_386: "i686", EM_AARCH64: "aarch64"}
_MUSL_ARCH: Final = {EM_X86_64: "x86_64", EM_386: "i386", EM_AARCH64: "aarch64", 243: "riscv64"}
_TOKEN: Final = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")
_MUSL_ITSELF: Final = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\..*")
"""What musl's dynamic linker, which is its C library too, takes for itself."""
_MUSL_DEFAULT: Final = "/lib:/usr/local/lib:/usr/lib"


@dataclass(frozen=True, slots=True)
class Requester:
    """A file that needs others: what it says about where to look.

    Attributes:
        origin: the directory it lies in, for $ORIGIN.
        library: its facts.
    """

    origin: str
    library: Library


@dataclass(frozen=True, slots=True)
class Found:
    """A library that the search came to.

    Attributes:
        path: in the terms of the root.
        image: the file.
    """

    path: str
    image: Image


@dataclass(frozen=True, slots=True)
class Search:
    """One dynamic linker's search order in one root.

    Attributes:
        root: the root directory it looks in.
        target: which machine it loads for.
        library_path: the value of LD_LIBRARY_PATH; "" where it is unset or ignored (AT_SECURE).
        subdirectories: the glibc-hwcaps ones that the processor can use, the best first.
        cache: /etc/ld.so.cache of that root.
        directories: where it looks in the end.
        lib: what $LIB stands for.
        musl: whether it is musl's, which knows no cache and no $LIB.
    """

    root: Root
    target: Target
    library_path: str = ""
    subdirectories: tuple[str, ...] = ()
    cache: Cache = field(default_factory=Cache)
    directories: tuple[str, ...] = ()
    lib: str = "lib"
    musl: bool = False

    @classmethod
    def glibc(cls, root: Root, target: Target, *, library_path: str = "", level: int = 1) -> Self:
        """The search of glibc's dynamic linker in a root.

        The default directories and $LIB are compiled into it; they are taken from how the root is
        laid out: Debian's multiarch directories where they exist, lib64 and lib elsewhere.

        Args:
            root: the root directory.
            target: which machine it loads for.
            library_path: the value of LD_LIBRARY_PATH.
            level: the x86-64 level of the processor, 1 to 4.
        """
        triplet = _TRIPLETS.get((target.machine, target.bits))
        lib = "lib64" if target.bits == 64 else "lib"
        if any(_is_directory(root, f"{prefix}/lib/{triplet}") for prefix in ("", "/usr")):
            lib = f"lib/{triplet}"
        directories = tuple(dict.fromkeys((f"/{lib}", f"/usr/{lib}", "/lib", "/usr/lib")))
        levels = range(level, 1, -1) if target.machine == EM_X86_64 else ()
        return cls(
            root, target, library_path,
            subdirectories=tuple(f"x86-64-v{number}" for number in levels),
            cache=Cache.parse(_read(root, PATH)), directories=directories, lib=lib,
        )  # fmt: skip

    @classmethod
    def of_musl(cls, root: Root, target: Target, *, library_path: str = "") -> Self:
        """The search of musl's dynamic linker in a root."""
        arch = _MUSL_ARCH.get(target.machine, "")
        text = os.fsdecode(_read(root, f"/etc/ld-musl-{arch}.path")) or _MUSL_DEFAULT
        directories = _split(text.replace("\n", ":"))
        return cls(root, target, library_path, directories=directories, musl=True)

    def find(self, name: str, chain: Sequence[Requester]) -> Found | None:
        """The library that a DT_NEEDED entry stands for, or None where nothing is found.

        Args:
            name: the entry.
            chain: who needs it, then who loaded that one, and so on up to the program.

        Raises:
            InvalidElf: the first file of that name is damaged; the dynamic linker gives up too.
        """
        for path in self.candidates(name, chain):
            image = self._open(path)
            if image and image.target == self.target:
                return Found(path, image)
        return None

    def candidates(self, name: str, chain: Sequence[Requester]) -> Iterator[str]:
        """Every path that is tried, in order.

        Relative ones are left out: they depend on the directory that a process happens to be in.
        """
        if self.musl and _MUSL_ITSELF.fullmatch(name):
            tried: Iterator[str] = iter(
                [f"/lib/ld-musl-{_MUSL_ARCH.get(self.target.machine)}.so.1"]
            )
        elif "/" in name:
            tried = iter([self._expand(name, chain[0] if chain else None)])
        elif self.musl:
            tried = (f"{directory}/{name}" for directory in self._musl_directories(chain))
        else:
            tried = self._glibc_candidates(name, chain)
        return (path for path in tried if path.startswith("/"))

    def _glibc_candidates(self, name: str, chain: Sequence[Requester]) -> Iterator[str]:
        nearest = chain[0] if chain else None
        if nearest is None or nearest.library.runpath is None:
            for requester in chain:
                if requester.library.runpath is None:
                    yield from self._in_path(requester.library.rpath, requester, name)
        yield from self._in_path(
            self.library_path.replace(";", ":"), chain[-1] if chain else None, name
        )
        if nearest is not None:
            yield from self._in_path(nearest.library.runpath, nearest, name)
        use_defaults = nearest is None or nearest.library.default_directories
        for path in self.cache.paths(name, self.subdirectories):
            if use_defaults or posixpath.dirname(path) not in self.directories:
                yield path
        if use_defaults:
            for directory in self.directories:
                yield from self._in_directory(directory, name)

    def _musl_directories(self, chain: Sequence[Requester]) -> Iterator[str]:
        yield from _split(self.library_path)
        for requester in chain:
            for directory in _split(requester.library.runpath or requester.library.rpath):
                yield self._expand(directory, requester)
        yield from self.directories

    def _in_path(self, text: str | None, requester: Requester | None, name: str) -> Iterator[str]:
        for directory in _split(text):
            yield from self._in_directory(self._expand(directory, requester), name)

    def _in_directory(self, directory: str, name: str) -> Iterator[str]:
        for subdirectory in self.subdirectories:
            yield f"{directory}/glibc-hwcaps/{subdirectory}/{name}"
        yield f"{directory}/{name}"

    def _expand(self, text: str, requester: Requester | None) -> str:
        """Put in $ORIGIN, $LIB and $PLATFORM (with or without braces)."""
        tokens = {"PLATFORM": _PLATFORMS.get(self.target.machine, ""), "LIB": self.lib}
        if requester:
            tokens["ORIGIN"] = requester.origin
        return _TOKEN.sub(lambda found: tokens.get(found[1] or found[2], found[0]), text)

    def _open(self, path: str) -> Image | None:
        try:
            descriptor = self.root.open_regular(path)
        except OSError:
            return None
        try:
            return Image.read(descriptor, path)
        finally:
            os.close(descriptor)


def _split(text: str | None) -> tuple[str, ...]:
    """The directories of a search path; empty elements mean the working directory."""
    return tuple(part for part in (text or "").split(":")[:_MAX_DIRECTORIES] if part)


def _read(root: Root, path: str) -> bytes:
    """A small file of a root; nothing where there is none."""
    try:
        descriptor = root.open_regular(path)
    except OSError:
        return b""
    try:
        return bytes(FileBytes(descriptor)[:MAX_SIZE])
    finally:
        os.close(descriptor)


def _is_directory(root: Root, path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISDIR(root.stat(path).st_mode)
    return False
