"""Where a library keeps what it may change while it runs, and what is there when it starts."""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.elf.format import SegmentFlags, SegmentType
from libswap.elf.relocations import X86_64
from libswap.linux.memory import Range, merged
from libswap.live.library import Library

_MOST: Final = 1 << 30
"""Bytes of one range; code of the usual model reaches 2 GiB in all (psABI x86-64 section 3.5.1)."""
_PLT_HEADER: Final = 24
"""Three words that the dynamic linker keeps at DT_PLTGOT (psABI x86-64 section 5.2)."""

_OF_ONE: Final = frozenset({int(X86_64.GLOB_DAT), int(X86_64.TPOFF64)})
_OF_TWO: Final = frozenset({int(X86_64.DTPMOD64), int(X86_64.TLSDESC)})
"""Kinds of relocations that the dynamic linker keeps one word or two for."""


@dataclass(frozen=True, slots=True)
class Initial:
    """The bytes of one writable range as the dynamic linker would leave them.

    Attributes:
        place: virtual addresses in the file's terms.
        contents: with every relocation applied that needs only the load base.
        unknown: offsets of words that depend on how a symbol is bound.
    """

    place: Range
    contents: bytes
    unknown: frozenset[int]


def writable_ranges(library: Library) -> tuple[Range, ...]:
    """Virtual addresses that code of the library may write: no RELRO, no slots of the linker."""
    taken = [Range(s.vaddr, s.vaddr + s.memsz) for s in library.image.segments
             if s.type == SegmentType.GNU_RELRO]  # fmt: skip
    taken += _slot_ranges(library)
    ranges = [
        Range(s.vaddr, s.vaddr + s.memsz)
        for s in library.image.loads
        if s.flags & SegmentFlags.W and s.memsz
    ]
    return without(ranges, taken)


def nameless_ranges(library: Library) -> tuple[Range, ...]:
    """What of that no symbol names."""
    named = [Range(s.value, s.value + s.size) for s in library.objects.values() if s.size]
    return without(writable_ranges(library), named)


def without(ranges: Iterable[Range], holes: Iterable[Range]) -> tuple[Range, ...]:
    """What is left of ranges, by ascending address; those that overlap count as one."""
    gaps = merged(hole for hole in holes if hole.size)
    return tuple(piece for whole in merged(ranges) for piece in _without(whole, gaps))


def initial(library: Library, place: Range, base: int) -> Initial:
    """What a writable range holds before any code of the library ran, loaded at `base`.

    Raises:
        InvalidElf: it is larger than the data of any library.
    """
    if place.size > _MOST:
        raise library.image.bad(f"its writable data are {place.size} bytes, more than {_MOST}")
    contents = bytearray(place.size)
    for segment in library.image.loads:
        start = max(place.start, segment.vaddr)
        end = min(place.end, segment.vaddr + segment.filesz)
        if start < end:
            found = library.image.at_vaddr(start, end - start, "a writable segment")
            contents[start - place.start : end - place.start] = found
    unknown = set()
    for relocation in library.relocations:
        at = relocation.offset - place.start
        if not 0 <= at <= place.size - 8:
            continue
        if relocation.type == X86_64.RELATIVE:
            addend = relocation.addend or struct.unpack_from("<Q", contents, at)[0]
            struct.pack_into("<Q", contents, at, (base + addend) % (1 << 64))
        else:
            unknown.add(at)
    return Initial(place, bytes(contents), frozenset(unknown))


def first_value(firsts: Sequence[Initial], start: int, size: int) -> list[bytes | None]:
    """The bytes that an object begins with; none where that is not known."""
    for begin in firsts:
        if begin.place.start <= start and start + size <= begin.place.end:
            at = start - begin.place.start
            if any(at <= u < at + size for u in begin.unknown):
                return []
            return [begin.contents[at : at + size]]
    return []


def _slot_ranges(library: Library) -> list[Range]:
    """The slots of lazy binding, which lie outside RELRO where binding is lazy."""
    found = [
        Range(offset, offset + (16 if kind in _OF_TWO else 8))
        for offset, kind, _, _, lazy in library.relocations
        if lazy or kind in _OF_ONE or kind in _OF_TWO
    ]
    header = library.dynamic.value(Tag.PLTGOT)
    if header is not None:
        found.append(Range(header, header + _PLT_HEADER))
    segment = library.image.segment(SegmentType.DYNAMIC)
    if segment is not None:
        found.append(Range(segment.vaddr, segment.vaddr + segment.memsz))
    return found


def _without(whole: Range, holes: Sequence[Range]) -> Iterator[Range]:
    """The pieces of one range between holes, which are in order and do not overlap."""
    at = whole.start
    for hole in islice(holes, bisect_right(holes, at, key=lambda h: h.end), None):
        if hole.start >= whole.end:
            break
        if at < hole.start:
            yield Range(at, hole.start)
        at = hole.end
    if at < whole.end:
        yield Range(at, whole.end)
