"""The file that a patch is for: its symbols, where they came from, and how it is recognised."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Final, NamedTuple

from libswap.elf.dynamic import DF_1_PIE, Dynamic, Tag, read_dynamic
from libswap.elf.format import EM_X86_64, FileType, SegmentFlags, SegmentType
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.elf.symbols import (
    SHN_ABS,
    Binding,
    Symbol,
    SymbolType,
    Visibility,
    dynamic_symbols,
    static_symbols,
)
from libswap.errors.base import InvalidElf
from libswap.patch.patch import Kind, Pin

_CHUNK: Final = 1 << 20
_NONE: Final[list[int]] = []
_EXPORTED: Final = (Visibility.DEFAULT, Visibility.PROTECTED)


class TargetSymbol(NamedTuple):
    """A definition in the target.

    Attributes:
        unit: for a local symbol the source file that the linker noted (STT_FILE), else "".
        symbol: the table's entry.
        preemptible: whether another module's definition of the name may stand in for it.
    """

    unit: str
    symbol: Symbol
    preemptible: bool

    @property
    def label(self) -> str:
        """name, or name@file.c where the file is known."""
        return f"{self.symbol.name}@{self.unit}" if self.unit else self.symbol.name


class Target:
    """A program or a library, with its symbols from wherever they are.

    Attributes:
        image: the file itself.
    """

    def __init__(
        self,
        image: Image,
        debug: Image | None = None,
        libraries: Callable[[], Sequence[Image]] = tuple,
    ) -> None:
        """Take a file.

        Args:
            image: the file.
            debug: the file with its symbols, where they were split off.
            libraries: gives the files of other modules, for names that the target does not know.

        Raises:
            InvalidElf: it is no x86-64 program or library.
        """
        header = image.header
        if header.machine != EM_X86_64 or header.bits != 64 or not header.little_endian:
            raise image.bad(f"it is for {header.bits}-bit {header.machine_name}, not x86-64")
        if header.type not in (FileType.EXEC, FileType.DYN):
            raise image.bad("it is neither a program nor a library")
        self.image: Final = image
        self._libraries: Final = libraries
        self._debug = debug

    @cached_property
    def dynamic(self) -> Dynamic | None:
        """The dynamic section, None for a static program."""
        return read_dynamic(self.image)

    @cached_property
    def kind(self) -> Kind:
        """What it is; libc.so.6 has an interpreter too, but a soname."""
        if self.image.header.type == FileType.EXEC:
            return Kind.PROGRAM
        dynamic = self.dynamic or Dynamic((), b"")
        interpreter = self.image.segment(SegmentType.INTERP) is not None
        pie = (dynamic.value(Tag.FLAGS_1) or 0) & DF_1_PIE
        return Kind.PIE if pie or (interpreter and dynamic.soname is None) else Kind.LIBRARY

    @cached_property
    def pin(self) -> Pin:
        """What a process's module must be for a patch of this target to fit."""
        soname = self.dynamic.soname if self.dynamic else None
        name = soname or PurePath(self.image.name).name
        identity = build_id(self.image) or ""
        return Pin(name, self.kind, identity, "" if identity else content_hash(self.image))

    @cached_property
    def stripped(self) -> bool:
        """Whether only what the dynamic linker needs to know is known."""
        return not self._static

    def named(self, name: str) -> tuple[TargetSymbol, ...]:
        """Every definition of a name; two entries of one name and place count once."""
        found = {i: self._definitions[i] for i in self._by_name.get(name, ())}
        places = {(unit, s.value): (unit, s) for unit, s in reversed(found.values())}
        return tuple(
            TargetSymbol(unit, symbol, name in self._preemptible)
            for unit, symbol in reversed(places.values())
        )

    @property
    def names(self) -> Iterable[str]:
        """Every name that is defined."""
        return self._by_name

    def next_function(self, vaddr: int) -> int | None:
        """Where the next function behind an address begins."""
        index = bisect_right(self._function_starts, vaddr)
        return self._function_starts[index] if index < len(self._function_starts) else None

    def functions_at(self, vaddr: int) -> tuple[TargetSymbol, ...]:
        """Every function that begins at an address."""
        low = bisect_left(self._function_starts, vaddr)
        high = bisect_right(self._function_starts, vaddr)
        return tuple(map(self._function, range(low, high)))

    def function_around(self, vaddr: int) -> TargetSymbol | None:
        """The function that an address lies in."""
        index = bisect_right(self._function_starts, vaddr) - 1
        found = self._function(index) if index >= 0 else None
        inside = found and vaddr < found.symbol.value + max(found.symbol.size, 1)
        return found if inside else None

    def is_function_start(self, vaddr: int) -> bool:
        """Whether a function begins at an address."""
        return vaddr in self._function_places

    def _function(self, index: int) -> TargetSymbol:
        unit, symbol = self._definitions[self._functions[index]]
        return TargetSymbol(unit, symbol, symbol.name in self._preemptible)

    @cached_property
    def _function_starts(self) -> tuple[int, ...]:
        return tuple(self._definitions[i][1].value for i in self._functions)

    @cached_property
    def _function_places(self) -> frozenset[int]:
        return frozenset(self._function_starts)

    @cached_property
    def _functions(self) -> tuple[int, ...]:
        """Indexes of the functions' definitions, ascending by address."""
        definitions = self._definitions
        kinds = (SymbolType.FUNC, SymbolType.GNU_IFUNC)
        found = (i for i, (_, s) in enumerate(definitions) if s.type in kinds)
        return tuple(sorted(found, key=lambda i: definitions[i][1].value))

    @cached_property
    def _definitions(self) -> tuple[tuple[str, Symbol], ...]:
        """(source file, symbol): of the symbol table first, then of the dynamic one."""
        return (*self._static, *(("", s) for s in self._dynamic_symbols if _is_definition(s)))

    @cached_property
    def _by_name(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, (_, symbol) in enumerate(self._definitions):
            same = found.setdefault(symbol.name, _NONE)
            if same is _NONE:
                found[symbol.name] = [index]
            else:
                same.append(index)
        return found

    @cached_property
    def imports(self) -> Mapping[str, Symbol]:
        """What it takes from other modules, by name."""
        return {s.name: s for s in self._dynamic_symbols if s.name and not s.defined}

    @cached_property
    def exports(self) -> Mapping[str, tuple[Symbol, str]]:
        """What the other modules' files export: the default version, and the soname."""
        found: dict[str, tuple[Symbol, str]] = {}
        for image in self._libraries():
            dynamic = read_dynamic(image)
            if dynamic is None:
                continue
            soname = dynamic.soname or PurePath(image.name).name
            for symbol in dynamic_symbols(image, dynamic):
                exported = _is_definition(symbol) and symbol.visibility in _EXPORTED
                if exported and (symbol.default or not symbol.version):
                    found.setdefault(symbol.name, (symbol, soname))
        return found

    def find(self, specification: str) -> tuple[TargetSymbol, ...]:
        """The definitions that a name means: "name", or "name@file.c" for one file's static."""
        same = self.named(specification)
        if same:
            return same
        name, _, unit = specification.rpartition("@")
        return tuple(s for s in self.named(name) if unit and s.unit == unit)

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        """Up to `size` bytes that the file maps at an address; fewer at a segment's end."""
        for segment in self.image.loads:
            if segment.holds(vaddr):
                room = segment.vaddr + segment.filesz - vaddr
                return self.image.at_vaddr(vaddr, min(size, room), "a function")
        return b""

    def is_open(self, vaddr: int, size: int) -> bool:  # noqa: ARG002  see registers.Code
        """Nothing is: the linker filled in everything that its code refers to."""
        return False

    def around(self, vaddr: int) -> tuple[int, int] | None:
        """Start and size of the function there; nothing of it where it has no name."""
        found = self.function_around(vaddr)
        return (found.symbol.value, found.symbol.size) if found else (vaddr, 0)

    @cached_property
    def texts(self) -> tuple[tuple[int, bytes], ...]:
        """(address, bytes) of the executable segments."""
        return tuple(
            (s.vaddr, self.image.at_offset(s.offset, s.filesz, "a segment of code"))
            for s in self.image.loads
            if s.flags & SegmentFlags.X
        )

    def executable(self, vaddr: int) -> bool:
        """Whether an address lies in code that the file maps."""
        return any(s.flags & SegmentFlags.X and s.holds(vaddr) for s in self.image.loads)

    @cached_property
    def thread_pointer_offset(self) -> int:
        """Of a program's TLS block from the thread pointer (psABI, TLS variant II); negative."""
        tls = self.image.segment(SegmentType.TLS)
        if tls is None:
            return 0
        align = max(tls.align, 1)
        return -tls.memsz - ((-tls.vaddr - tls.memsz) & (align - 1))

    @cached_property
    def _dynamic_symbols(self) -> tuple[Symbol, ...]:
        return dynamic_symbols(self.image, self.dynamic) if self.dynamic else ()

    @cached_property
    def _static(self) -> tuple[tuple[str, Symbol], ...]:
        """(source file, definition) of the symbol table: its own, or the debug file's."""
        symbols: tuple[Symbol, ...] = ()
        for image in filter(None, (self.image, self._debug)):
            try:
                symbols = static_symbols(image)
            except InvalidElf:
                continue  # what the dynamic linker does not read may be damaged, and the rest good
            if symbols:
                break
        return tuple(_with_units(symbols))

    @cached_property
    def _preemptible(self) -> frozenset[str]:
        if self.kind != Kind.LIBRARY or self.dynamic is None or self.dynamic.symbolic:
            return frozenset()
        return frozenset(
            s.name
            for s in self._dynamic_symbols
            if _is_definition(s)
            and s.visibility == Visibility.DEFAULT
            and s.type != SymbolType.TLS
            and (s.default or not s.version)
        )


def content_hash(image: Image) -> str:
    """SHA-256 of a whole file, in hexadecimal."""
    digest = hashlib.sha256()
    for at in range(0, len(image.data), _CHUNK):
        digest.update(image.data[at : at + _CHUNK])
    return digest.hexdigest()


def _with_units(symbols: Iterable[Symbol]) -> Iterator[tuple[str, Symbol]]:
    """Local symbols follow the STT_FILE symbol of their source file (gABI chapter 4)."""
    unit = ""
    for symbol in symbols:
        if symbol.type == SymbolType.FILE:
            unit = symbol.name
        elif _is_definition(symbol):
            yield unit if symbol.binding == Binding.LOCAL else "", symbol


def _is_definition(symbol: Symbol) -> bool:
    kinds = (SymbolType.SECTION, SymbolType.FILE)
    return (
        bool(symbol.name)
        and symbol.defined
        and symbol.section != SHN_ABS
        and (symbol.type not in kinds)
    )
