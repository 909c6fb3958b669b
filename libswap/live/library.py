"""One library file's facts as a live swap needs them, read once however many processes map it."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final, NamedTuple

from libswap.elf.dynamic import Dynamic, Tag, read_dynamic
from libswap.elf.format import FileType, Segment, SegmentFlags, SegmentType
from libswap.elf.image import Image
from libswap.elf.nameless import NOTHING, Nameless
from libswap.elf.notes import build_id
from libswap.elf.relocations import Relocation, relocations
from libswap.elf.symbols import (
    SHN_ABS,
    Binding,
    Symbol,
    SymbolType,
    dynamic_symbols,
    static_symbols,
)

Finder = Callable[["Library", "Library"], Nameless]
"""Finds what an old and a new file have in common that no symbol names."""
_CLONE: Final = re.compile(r"\.(?:constprop|isra|part|cold|lto_priv|localalias)\b")
"""What gcc puts behind the name of a function that it made out of another one."""


class Name(NamedTuple):
    """Under what a symbol of one file is looked for in another.

    Attributes:
        unit: for a local symbol the source file that the linker noted, else "".
    """

    name: str
    version: str
    unit: str

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version else ""
        return f"{self.unit}:{self.name}" if self.unit else f"{self.name}{version}"


class Library:
    """An ELF file with a dynamic section."""

    def __init__(
        self, image: Image, debug: Image | None = None, finder: Finder | None = None
    ) -> None:
        """Take the file.

        Args:
            image: of the file.
            debug: of the file with its symbols, where they were split off.
            finder: finds what it has in common with another file that no symbol names.
        """
        self.image = image
        self._debug = debug
        self._finder = finder

    def nameless(self, new: "Library") -> Nameless:
        """What it and another file have in common that no symbol names."""
        if self._finder is None or (self.statics and new.statics):
            return NOTHING
        return self._finder(self, new)

    @property
    def symbol_file(self) -> Image | None:
        """The file that holds the symbols, where they were split off."""
        return self._debug

    @cached_property
    def dynamic(self) -> Dynamic:
        """The dynamic section.

        Raises:
            InvalidElf: the file has none.
        """
        found = read_dynamic(self.image)
        if found is None:
            raise self.image.bad("it has no dynamic section")
        return found

    @cached_property
    def build_id(self) -> str:
        """The build id in hexadecimal, or ""."""
        return build_id(self.image) or ""

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The dynamic symbols, by index."""
        return dynamic_symbols(self.image, self.dynamic)

    @cached_property
    def statics(self) -> tuple[Symbol, ...]:
        """The symbols of .symtab, from the file or from its debug file; empty when stripped."""
        return static_symbols(self.image) or (static_symbols(self._debug) if self._debug else ())

    @cached_property
    def relocations(self) -> tuple[Relocation, ...]:
        """What the dynamic linker fills in."""
        return tuple(relocations(self.image, self.dynamic))

    @cached_property
    def exported(self) -> dict[Name, Symbol]:
        """Every dynamic symbol that the file defines; what others may bind to."""
        return {
            Name(s.name, s.version, ""): s
            for s in self.symbols
            if s.defined and s.section != SHN_ABS and s.binding != Binding.LOCAL and s.name
        }

    @cached_property
    def only(self) -> dict[str, Symbol]:
        """By bare names: what is exported in a single version, the one that any reference gets."""
        count = Counter(name.name for name in self.exported)
        return {n.name: s for n, s in self.exported.items() if s.default and count[n.name] == 1}

    @cached_property
    def offered(self) -> dict[str, int]:
        """The exported functions by their bare names; of several versions the default one."""
        ranked = sorted(self.exported.items(), key=lambda one: one[1].default)
        return {name.name: symbol.value for name, symbol in ranked if symbol.is_function}

    @cached_property
    def internal(self) -> dict[Name, Symbol]:
        """Functions and objects that only .symtab names, each under a name that is its own."""
        return {name: found[0] for name, found in self._internal.items() if len(found) == 1}

    @cached_property
    def _internal(self) -> dict[Name, list[Symbol]]:
        known = {(s.value, s.type) for s in self.exported.values()}
        found: dict[Name, list[Symbol]] = defaultdict(list)
        for unit, symbol in self._with_units():
            if (symbol.value, symbol.type) not in known:
                found[Name(symbol.name.split("@", 1)[0], "", unit)].append(symbol)
        return found

    def _with_units(self) -> Iterator[tuple[str, Symbol]]:
        unit = ""
        for symbol in self.statics:
            if symbol.type == SymbolType.FILE:
                unit = symbol.name
            elif symbol.defined and symbol.section != SHN_ABS and _has_a_place(symbol):
                yield (unit if symbol.binding == Binding.LOCAL else ""), symbol

    @cached_property
    def functions(self) -> dict[Name, Symbol]:
        """Every named function that keeps its calling convention (no clones of gcc's making)."""
        both = {**self.internal, **self.exported}
        return {n: s for n, s in both.items() if s.is_function and not _CLONE.search(n.name)}

    @cached_property
    def objects(self) -> dict[Name, Symbol]:
        """Every named data object."""
        both = {**self.internal, **self.exported}
        return {n: s for n, s in both.items() if s.type in (SymbolType.OBJECT, SymbolType.COMMON)}

    @cached_property
    def thread_locals(self) -> dict[Name, Symbol]:
        """Every named thread-local object; values are offsets in the TLS block."""
        both = {**self.internal, **self.exported}
        return {n: s for n, s in both.items() if s.type == SymbolType.TLS}

    @cached_property
    def tls(self) -> Segment | None:
        """The TLS segment, when it holds anything."""
        found = self.image.segment(SegmentType.TLS)
        return found if found and found.memsz else None

    @cached_property
    def texts(self) -> tuple[tuple[int, bytes], ...]:
        """(virtual address, bytes) of every executable segment."""
        return tuple(
            (s.vaddr, self.image.at_offset(s.offset, s.filesz, "an executable segment"))
            for s in self.image.loads
            if s.flags & SegmentFlags.X
        )

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Lowest and highest virtual address of the LOAD segments."""
        loads = self.image.loads
        return min(s.vaddr for s in loads), max(s.vaddr + s.memsz for s in loads)

    @property
    def is_program(self) -> bool:
        """Whether it is a program and no library (DF_1_PIE tells one from the other)."""
        flags = self.dynamic.value(Tag.FLAGS_1) or 0
        return self.image.header.type == FileType.EXEC or bool(flags & 0x08000000)


def _has_a_place(symbol: Symbol) -> bool:
    return bool(symbol.name) and (
        symbol.is_function or symbol.type in (SymbolType.OBJECT, SymbolType.COMMON, SymbolType.TLS)
    )
