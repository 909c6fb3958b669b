"""The code of one library: its functions with their bounds, and what its calls lead to."""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from libswap.elf.dynamic import Dynamic, Tag, read_dynamic
from libswap.elf.format import SegmentFlags
from libswap.elf.frames import frames
from libswap.elf.image import Image
from libswap.elf.relocations import X86_64, Relocation, relocations
from libswap.elf.symbols import (
    SHN_ABS,
    Binding,
    Symbol,
    SymbolType,
    dynamic_symbols,
    static_symbols,
)
from libswap.errors.base import InvalidElf
from libswap.linux.memory import Range, merged

MAX_FUNCTION: Final = 1 << 20
"""Bytes of one function that are looked at; tables of initialisers reach a tenth of it."""
_JUMP_THROUGH: Final = (b"\xff\x25", b"\xf2\xff\x25")
"""jmp *slot(%rip): an entry of the procedure linkage table (psABI x86-64 section 5.2)."""
_LANDING: Final = b"\xf3\x0f\x1e\xfa"


@dataclass(frozen=True, slots=True)
class Function:
    """One function, or the part of one that the compiler put elsewhere.

    Attributes:
        start, end: virtual addresses in the file's terms.
        name: of a symbol that begins there; "" where none does.
        exported: whether others can bind to it.
    """

    start: int
    end: int
    name: str
    exported: bool


class Code:
    """What the machine code of a file looks like from outside."""

    def __init__(self, image: Image, debug: Image | None = None) -> None:
        """Take the file, and the one that holds its symbol table where it was split off."""
        self.image = image
        self._debug = debug

    @cached_property
    def dynamic(self) -> Dynamic:
        """The dynamic section; empty where there is none."""
        return read_dynamic(self.image) or Dynamic((), b"")

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The dynamic symbols, by index."""
        return dynamic_symbols(self.image, self.dynamic)

    @cached_property
    def statics(self) -> tuple[Symbol, ...]:
        """The symbols of .symtab; empty where neither file has them."""
        found = static_symbols(self.image)
        return found or (static_symbols(self._debug) if self._debug else ())

    @cached_property
    def relocations(self) -> tuple[Relocation, ...]:
        """What the dynamic linker fills in."""
        return tuple(relocations(self.image, self.dynamic))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function that symbols or unwind tables tell of, by address, none overlapping."""
        ends = {r.start: r.end for r in frames(self.image)}
        named = self._named()
        for start, (_, size, _) in named.items():
            if start not in ends or size:
                ends[start] = max(start + size, ends.get(start, 0))
        starts = sorted(s for s in ends if self._text_at(s) is not None)
        return tuple(self._bounded(starts, ends, named))

    def _bounded(
        self, starts: list[int], ends: dict[int, int], named: dict[int, tuple[str, int, bool]]
    ) -> Iterator[Function]:
        for start, following in pairwise([*starts, 1 << 64]):
            text = self._text_at(start)
            assert text is not None  # noqa: S101  the caller left out the others
            end = ends[start] if ends[start] > start else following
            end = min(end, following, text.end, start + MAX_FUNCTION)
            name, _, exported = named.get(start, ("", 0, False))
            yield Function(start, end, name, exported)

    def _named(self) -> dict[int, tuple[str, int, bool]]:
        """Address -> name, size, whether it is exported; exported names come first."""
        found: dict[int, tuple[str, int, bool]] = {}
        for symbols, exported in ((self.symbols, True), (self.statics, False)):
            for s in symbols:
                if s.is_function and s.defined and s.section != SHN_ABS and s.name:
                    public = exported and s.binding != Binding.LOCAL
                    known = found.get(s.value)
                    if known is None or (public and known[2] and s.name < known[0]):
                        found[s.value] = (s.name.split("@", 1)[0], s.size, public)
        return found

    @cached_property
    def by_start(self) -> dict[int, Function]:
        """Address -> function."""
        return {f.start: f for f in self.functions}

    @cached_property
    def resolvers(self) -> frozenset[int]:
        """Where the resolvers of indirect functions begin."""
        return frozenset(s.value for s in self.symbols if s.type == SymbolType.GNU_IFUNC)

    @cached_property
    def constructors(self) -> frozenset[int]:
        """Where functions begin that only the dynamic linker calls, when it has loaded the file."""
        start = self.dynamic.value(Tag.INIT_ARRAY) or 0
        size = self.dynamic.value(Tag.INIT_ARRAYSZ) or 0
        listed = {to for at, to in self.pointers.items() if start <= at < start + size}
        others = {to for at, to in self.pointers.items() if not start <= at < start + size}
        return frozenset(a for a in listed - others
                         if a in self.by_start and not self.by_start[a].exported)  # fmt: skip

    def text(self, function: Function) -> bytes:
        """Its bytes."""
        place = self._text_at(function.start)
        assert place is not None  # noqa: S101  functions lie in texts
        data = self.texts[place]
        return data[function.start - place.start : function.end - place.start]

    @cached_property
    def texts(self) -> dict[Range, bytes]:
        """The executable segments, as far as the file has their bytes."""
        return {
            Range(s.vaddr, s.vaddr + s.filesz): self.image.at_offset(
                s.offset, s.filesz, "an executable segment"
            )
            for s in self.image.loads
            if s.flags & SegmentFlags.X
        }

    def _text_at(self, address: int) -> Range | None:
        for place in self.texts:
            if place.start <= address < place.end:
                return place
        return None

    def is_changeable(self, address: int) -> bool:
        """Whether it lies in data that are written, if only by the dynamic linker."""
        index = bisect_right(self._changeable, address, key=lambda place: place.start) - 1
        return index >= 0 and address in self._changeable[index]

    @cached_property
    def _changeable(self) -> tuple[Range, ...]:
        return merged(
            Range(s.vaddr, s.vaddr + s.memsz) for s in self.image.loads
            if s.flags & SegmentFlags.W
        )  # fmt: skip

    @cached_property
    def slots(self) -> dict[int, str]:
        """Place -> name of the symbol whose address the dynamic linker writes there."""
        kinds = (X86_64.JUMP_SLOT, X86_64.GLOB_DAT, X86_64.ADDR64)
        count = len(self.symbols)
        return {
            r.offset: self.symbols[r.symbol].name
            for r in self.relocations
            if r.type in kinds and 0 < r.symbol < count
        }

    @cached_property
    def pointers(self) -> dict[int, int]:
        """Place -> address in the file's terms that the dynamic linker writes there."""
        found = {}
        for r in self.relocations:
            if r.type == X86_64.RELATIVE:
                found[r.offset] = r.addend or self._word(r.offset)
            elif r.type == X86_64.ADDR64 and 0 < r.symbol < len(self.symbols):
                symbol = self.symbols[r.symbol]
                if symbol.defined:
                    found[r.offset] = symbol.value + r.addend
        return found

    def cases(self, table: int, limit: int) -> tuple[int, ...]:
        """Where a table of 4-byte distances from itself leads to, up to the first outside code."""
        found = []
        for number in range(limit):
            try:
                data = self.image.at_vaddr(table + 4 * number, 4, "a table of cases")
            except InvalidElf:
                break
            goal = table + int.from_bytes(data, "little", signed=True)
            if self._text_at(goal) is None:
                break
            found.append(goal)
        return tuple(found)

    def _word(self, place: int) -> int:
        try:
            found: int = struct.unpack("<Q", self.image.at_vaddr(place, 8, "a pointer"))[0]
        except InvalidElf:
            return 0
        return found

    def called(self, address: int) -> Function | str | None:
        """What a call leads to: a function of the file, a name of elsewhere, None if unknown."""
        if address not in self._called:
            self._called[address] = self._look_up(address)
        return self._called[address]

    @cached_property
    def _called(self) -> "dict[int, Function | str | None]":
        return {}

    def _look_up(self, address: int) -> Function | str | None:
        place = self._text_at(address)
        if place is None:
            return None
        data, at = self.texts[place], address - place.start
        if data.startswith(_LANDING, at):
            at += len(_LANDING)
        for opcode in _JUMP_THROUGH:
            end = at + len(opcode) + 4
            if data.startswith(opcode, at) and end <= len(data):
                (distance,) = struct.unpack_from("<i", data, end - 4)
                return self.through(place.start + end + distance)
        return self.by_start.get(address)

    def through(self, slot: int) -> Function | str | None:
        """What a call through a slot leads to."""
        name = self.slots.get(slot)
        if name is None:
            return self.by_start.get(self.pointers.get(slot, -1))
        return self.own.get(name, name)

    @cached_property
    def own(self) -> dict[str, Function]:
        """Exported name -> function; interposition is not thought of."""
        return {
            s.name: self.by_start[s.value]
            for s in self.symbols
            if s.defined and s.is_function and s.value in self.by_start
        }

    def holding(self, address: int) -> Function | None:
        """The function that an address lies in."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        found = self.functions[at]
        return found if address < found.end else None

    def within(self, start: int, end: int) -> tuple[Function, ...]:
        """The functions that begin in a piece of the file."""
        return self.functions[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    @cached_property
    def _starts(self) -> list[int]:
        return [f.start for f in self.functions]
