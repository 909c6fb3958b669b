"""What the dynamic linker wrote into a process, compared with what the file would have it write.

A process's code pages are the file's own: after an overwrite in place they show the new bytes, and
nothing in them tells. But the pages that the dynamic linker relocated are private copies, made of
the file as it was at load time, and those it then protected (PT_GNU_RELRO) have not changed since.
"""

import struct
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Final, Self

from libswap.elf.dynamic import Tag, read_dynamic
from libswap.elf.format import EM_386, EM_AARCH64, EM_X86_64, Segment, SegmentType
from libswap.elf.image import Image
from libswap.elf.relocations import relocations, relr_places
from libswap.errors.base import InvalidElf
from libswap.process.maps import Mapping
from libswap.scan.witness import PAGE, Witness

_RELATIVE: Final[Map[int, int]] = {EM_X86_64: 8, EM_386: 8, EM_AARCH64: 1027}
"""R_<machine>_RELATIVE: base plus addend (the psABIs)."""
_MAX_BYTES: Final = 1 << 24
"""No library has more to protect; one that says so is not compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of the relocated words agree.

    Attributes:
        compared: words in private copies that the file's relocations settle.
        different: those that hold something else.
    """

    compared: int
    different: int


@dataclass(frozen=True, slots=True)
class Relocated:
    """What the dynamic linker writes into the protected data of one file.

    Attributes:
        words: what is added to the base, by the virtual address that it is written to.
        relro: the protected segment.
        first: file offset and virtual address of the file's first page.
        order: the words' byte order, a `struct` mark.
        word: their `struct` letter.
    """

    words: Map[int, int]
    relro: Segment | None
    first: tuple[int, int]
    order: str
    word: str

    @classmethod
    def of(cls, image: Image) -> Self:
        """Read a file; one that is damaged or has nothing of the kind gives no words."""
        try:
            relro, loads = image.segment(SegmentType.GNU_RELRO), image.loads
            words = _words(image) if relro and loads and relro.memsz <= _MAX_BYTES else {}
        except (InvalidElf, OSError):
            relro, loads, words = None, (), {}
        first = (loads[0].offset & -PAGE, loads[0].vaddr & -PAGE) if loads else (0, 0)
        return cls(words, relro, first, image.order, image.word)

    def compare(self, mappings: Sequence[Mapping], witness: Witness) -> Comparison:
        """Compare with the memory of a process.

        Args:
            mappings: of the file in the process, in ascending order.
            witness: the process.

        Returns:
            Nothing compared where the memory may not be read, or there are no words.
        """
        offset, vaddr = self.first
        if self.relro is None or not mappings or mappings[0].offset != offset:
            return Comparison(0, 0)
        base = mappings[0].start - vaddr
        record = struct.Struct(self.order + self.word)
        mask = (1 << 8 * record.size) - 1
        compared = different = 0
        for page, data in _private_pages(base, self.relro, witness):
            for place, (found,) in enumerate(record.iter_unpack(data)):
                addend = self.words.get(page + place * record.size)
                if addend is not None:
                    compared += 1
                    different += found != (base + addend) & mask
        return Comparison(compared, different)


def _words(image: Image) -> dict[int, int]:
    """What each RELATIVE relocation adds to the base, by the address that it fills."""
    dynamic = read_dynamic(image)
    relative = _RELATIVE.get(image.header.machine)
    if dynamic is None or relative is None:
        return {}
    in_file = dynamic.value(Tag.REL) is not None
    found = {
        r.offset: _word(image, r.offset) if in_file else r.addend
        for r in relocations(image, dynamic, relr=False)
        if r.type == relative
    }
    return found | {place: _word(image, place) for place in relr_places(image, dynamic)}


def _word(image: Image, vaddr: int) -> int:
    raw = image.at_vaddr(vaddr, image.word_size, "a relocated word")
    return int.from_bytes(raw, "little" if image.header.little_endian else "big")


def _private_pages(base: int, relro: Segment, witness: Witness) -> Iterator[tuple[int, bytes]]:
    """Each whole protected page that is the process's own copy, with its address in the file."""
    start, end = relro.vaddr & -PAGE, (relro.vaddr + relro.memsz) & -PAGE
    count = max(end - start, 0) // PAGE
    flags = witness.page_flags(base + start, count) if count else None
    memory = witness.memory(base + start, count * PAGE) if flags else None
    if flags is None or memory is None:
        return
    for number, flag in enumerate(flags):
        if flag & _PRESENT_OR_SWAPPED and not flag & _FILE_OR_SHARED:
            yield start + number * PAGE, memory[number * PAGE : (number + 1) * PAGE]


_PRESENT_OR_SWAPPED: Final = 1 << 63 | 1 << 62
_FILE_OR_SHARED: Final = 1 << 61
"""Flags of a page in Documentation/admin-guide/mm/pagemap.rst."""
