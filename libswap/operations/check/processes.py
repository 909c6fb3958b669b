"""The processes that have a library loaded, with all that their dynamic linkers know."""

import os
import posixpath
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.abi.importers import Affected
from libswap.elf.image import Image
from libswap.elf.library import Libraries, Library
from libswap.elf.search import Requester
from libswap.errors.base import InvalidElf
from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey
from libswap.process.namespaces import View
from libswap.scan.census import NO_MEMORY, Uninspected, uninspected
from libswap.scan.loading import Data
from libswap.scan.lookup import Lookup, lookup_of
from libswap.scan.usage import users_of
from libswap.scan.use import Use, User
from libswap.scan.witness import Witness

_AT_SECURE: Final = 23


@dataclass(frozen=True, slots=True)
class Process:
    """One that has the library loaded.

    Attributes:
        pid: its PID.
        name: its short name.
        view: how it sees paths.
        path: the library's, as it sees it.
        program: its program, with the directory as it sees it; None where that cannot be read.
        library_path: the LD_LIBRARY_PATH that its dynamic linker honoured at the start.
        modules: the other files that it maps to execute.
    """

    pid: int
    name: str
    view: View
    path: str
    program: Requester | None
    library_path: str
    modules: tuple[Library, ...]

    @property
    def affected(self) -> Affected:
        """The facts that findings are told by."""
        return Affected(self.pid, self.name, self.modules)


@dataclass(slots=True)
class Collector:
    """Collects processes and reads each file that they map once."""

    libraries: Libraries
    procfs: Procfs = PROC
    uninspected: list[Uninspected] = field(default_factory=list)
    _modules: dict[FileKey, Library | None] = field(default_factory=dict)

    def users_of(self, path: str) -> tuple[Process, ...]:
        """The processes that have a library loaded as code; others are noted as uninspected."""
        usage = users_of([path], procfs=self.procfs)
        self.uninspected.extend(usage.uninspected)
        return tuple(found for user in usage.users for found in self._process(user))

    def _process(self, user: User) -> Iterator[Process]:
        pid = user.process.identity.pid
        loaded = [use for use in user.uses if not isinstance(use.loaded, Data)]
        try:
            if loaded:
                found = self._facts(pid, user.process.name, loaded)
                user.process.identity.check(self.procfs)
                yield found
        except ProcessGone:
            return
        except OSError as error:
            if error.errno not in NO_MEMORY:
                self.uninspected.append(uninspected(pid, error, self.procfs))

    def _facts(self, pid: int, name: str, loaded: Sequence[Use]) -> Process:
        view, witness = View.of(pid, self.procfs), Witness(pid, self.procfs)
        own = {start for use in loaded for start, _ in use.ranges}
        keys = {
            FileKey(m.inode, m.major, m.minor, m.name)
            for m in witness.mappings()
            if m.executable and m.inode and m.start not in own
        }
        with lookup_of(view, [pid], self.procfs) as lookup:
            modules = {key: self._module(key, witness, lookup) for key in keys}
        program = self._program(pid, view, modules)
        return Process(
            pid, name, view, loaded[0].path,
            program=program,
            library_path=self._library_path(pid, program.library.target.bits if program else 64),
            modules=tuple(module for _, module in sorted(modules.items()) if module is not None),
        )  # fmt: skip

    def _program(
        self, pid: int, view: View, modules: Mapping[FileKey, Library | None]
    ) -> Requester | None:
        name = os.fsencode(self.procfs.link(pid, "exe"))
        path = view.seen(os.fsdecode(name)) or os.fsdecode(name)
        libraries = (library for key, library in modules.items() if key.name == name)
        return next((Requester(posixpath.dirname(path), m) for m in libraries if m), None)

    def _module(self, key: FileKey, witness: Witness, lookup: Lookup) -> Library | None:
        if key not in self._modules:
            mapping = witness.of(key)[0]
            image = witness.image(mapping) or lookup.image(key.name)
            self._modules[key] = self._library(image) if image else None
        return self._modules[key]

    def _library(self, image: Image) -> Library | None:
        try:
            return self.libraries.of(image)
        except InvalidElf:
            return None  # mapped as code, but nothing that the dynamic linker loaded

    def _library_path(self, pid: int, bits: int) -> str:
        """LD_LIBRARY_PATH, which is ignored for a program with AT_SECURE (ld.so(8))."""
        entry = struct.Struct("=QQ" if bits == 64 else "=II")
        auxv = self.procfs.read(pid, "auxv")
        usable = auxv[: len(auxv) - len(auxv) % entry.size]
        if dict(entry.iter_unpack(usable)).get(_AT_SECURE):
            return ""
        for variable in self.procfs.read(pid, "environ").split(b"\0"):
            if variable.startswith(b"LD_LIBRARY_PATH="):
                return os.fsdecode(variable.partition(b"=")[2])
        return ""
