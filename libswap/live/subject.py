"""A process that is looked at or worked on: its memory, its modules, and the record it carries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from libswap.elf.link_map import parse_auxv, read_loader
from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.memory import ProcessMemory
from libswap.linux.procfs import PROC, Procfs
from libswap.live import registry
from libswap.live.module import LibraryCache, Module, modules
from libswap.live.refusal import require_class
from libswap.live.registry import Place, Record
from libswap.live.thread import live_threads
from libswap.process.identity import Identity
from libswap.process.maps import Mapping, maps_of


@dataclass(frozen=True, slots=True)
class Subject:
    """What was found in it at one moment.

    Attributes:
        identity: the process.
        memory: its memory.
        mappings: its mappings.
        modules: what the dynamic linker has loaded.
        place: its record, None where libswap never changed it.
        cache: shared facts of files.
    """

    identity: Identity
    memory: ProcessMemory
    mappings: tuple[Mapping, ...]
    modules: tuple[Module, ...]
    place: Place | None
    cache: LibraryCache

    @classmethod
    @contextmanager
    def open(cls, identity: Identity, cache: LibraryCache, procfs: Procfs = PROC) -> Iterator[Self]:
        """Look at a process.

        Raises:
            ProcessGone: it ended.
            ProcessUnreadable: we may not look at it.
            WrongProgramClass: it is no 64-bit program.
            LinkMapUnreadable: it has no dynamic linker, or that is busy for too long.
            RecordDamaged: what it carries cannot be trusted.
        """
        identity.check(procfs)
        require_class(identity.pid)
        tid = live_threads(identity.pid)[0]
        try:
            memory = ProcessMemory(tid)
        except PermissionError as error:
            raise ProcessUnreadable(identity.pid, error.strerror or "") from None
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone(identity.pid) from None
        with memory:
            yield cls._look(identity, memory, cache, procfs)

    def again(self) -> "Subject":
        """The same process as it is now."""
        return self._look(self.identity, self.memory, self.cache, PROC)

    @classmethod
    def _look(
        cls, identity: Identity, memory: ProcessMemory, cache: LibraryCache, procfs: Procfs
    ) -> Self:
        try:
            mappings = maps_of(memory.tid, procfs)
            auxv = parse_auxv(procfs.read(memory.tid, "auxv"))
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone(identity.pid) from None
        except PermissionError as error:
            raise ProcessUnreadable(identity.pid, error.strerror or "") from None
        loader = read_loader(memory, auxv)
        found = modules(loader.maps, mappings, cache.opener(memory.tid, procfs))
        place = registry.find(memory, mappings, identity.pid)
        return cls(identity, memory, mappings, found, place, cache)

    @property
    def record(self) -> Record:
        """What it carries; an empty one where libswap never changed it."""
        return self.place.record if self.place is not None else Record()

    def module_at(self, link: int) -> Module | None:
        """The module whose link map lies there."""
        return next((m for m in self.modules if m.link.address == link), None)
