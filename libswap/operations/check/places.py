"""Where the new library would be loaded: a program started now, and each kind of running one."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from libswap.abi.scope import Scope, Surroundings
from libswap.elf.closure import closure
from libswap.elf.library import Libraries, Library
from libswap.elf.search import Requester, Search
from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.cpu import x86_level
from libswap.linux.rooted import Root
from libswap.operations.check.processes import Process
from libswap.process.namespaces import root_of

_C_LIBRARY: Final = ("libc.so.6",)
"""In every process of glibc, whether or not a library asks for it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The two libraries, and where the old one lies.

    Attributes:
        beside: libraries that will change together with it, by SONAME.
    """

    old: Library
    new: Library
    path: str
    beside: Mapping[str, Library] = field(default_factory=dict)


def places(
    pair: Pair, processes: Sequence[Process], libraries: Libraries
) -> Iterator[Surroundings]:
    """A process started now in our own root, then one place for each kind of running process."""
    level = x86_level()
    with Root.open("/") as root:
        builder = _Builder(pair, libraries, level)
        yield builder.place("a program started now", root, pair.path)
        kinds: dict[object, list[Process]] = defaultdict(list)
        for process in processes:
            program = process.program.library if process.program else process.pid
            kinds[process.view, process.path, program, process.library_path].append(process)
        for alike in kinds.values():
            yield from builder.kind(alike)


@dataclass(frozen=True, slots=True)
class _Builder:
    pair: Pair
    libraries: Libraries
    level: int | None

    def kind(self, alike: Sequence[Process]) -> Iterator[Surroundings]:
        """The place that processes of one program share, as the first that still lives sees it."""
        label = f"{alike[0].name} (PID {', '.join(str(p.pid) for p in alike)})"
        for process in alike:
            try:
                with root_of(process.pid) as root:
                    modules = tuple({m: None for p in alike for m in p.modules})
                    yield self.place(label, root, process.path, replace(process, modules=modules))
                    return
            except (ProcessGone, ProcessUnreadable):
                continue

    def place(
        self, label: str, root: Root, path: str, process: Process | None = None
    ) -> Surroundings:
        """The scopes of both libraries in one place."""
        search = self._search(root, process)
        old, new = (
            self._scope(label, search, Requester(posixpath.dirname(path), library), process)
            for library in (self.pair.old, self.pair.new)
        )
        return Surroundings(old, self._joined(new))

    def _joined(self, scope: Scope) -> Scope:
        """What the new library meets: its companions of the same installation in their places."""
        beside = self.pair.beside
        there = (beside.get(library.soname or "", library) for library in scope.libraries)
        arriving = (beside[name] for name in scope.missing if name in beside)
        return replace(
            scope,
            libraries=tuple(dict.fromkeys((*there, *arriving))),
            missing=tuple(name for name in scope.missing if name not in beside),
        )

    def _scope(
        self, label: str, search: Search, library: Requester, process: Process | None
    ) -> Scope:
        chain = [library]
        if process and process.program:
            chain.append(process.program)
        modules = process.modules if process else ()
        found = closure(search, chain, self.libraries, () if search.musl else _C_LIBRARY)
        return Scope(
            label,
            tuple(dict.fromkeys((*found.libraries, *modules))),
            program_known=process is not None,
            missing=tuple(m.name for m in found.missing if m.refused),
            damaged=tuple((m.name, m.damage) for m in found.missing if m.damage),
            isa_level=self.level,
        )

    def _search(self, root: Root, process: Process | None) -> Search:
        target = self.pair.new.target
        library_path = process.library_path if process else ""
        program = process.program.library if process and process.program else None
        if _is_musls(program, self.pair.old, self.pair.new):
            return Search.of_musl(root, target, library_path=library_path)
        level = self.level or 1
        return Search.glibc(root, target, library_path=library_path, level=level)


def _is_musls(*witnesses: Library | None) -> bool:
    """Whether the dynamic linker is musl's, by the first that says so: the new library comes last.

    It can be made for another C library than the programs that would load it.
    """
    said = (_is_for_musl(library) for library in witnesses if library is not None)
    return next((musl for musl in said if musl is not None), False)


def _is_for_musl(library: Library) -> bool | None:
    """Whether it wants musl, by its interpreter or a name of a C library; None if it wants none."""
    if library.interpreter:
        return "ld-musl-" in library.interpreter
    if any(name.startswith("libc.so.6") for name in library.needed):
        return False
    wanted = any(name == "libc.so" or name.startswith("libc.musl-") for name in library.needed)
    return True if wanted else None
