"""How the code of a library reaches its own functions: what an entry redirect must respect.

Found by looking for the encodings of near branches and address computations at every byte of the
text (Intel SDM volume 2), not by disassembling it: data in the text or unaligned decoding cannot
hide one, and a chance match only makes the answer more careful.
"""

import re
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from libswap.elf.format import SegmentType
from libswap.elf.instructions import branches, instructions
from libswap.elf.relocations import X86_64
from libswap.live.library import Library

JUMP_SIZE: Final = 5
"""jmp rel32."""

_BRANCH: Final = re.compile(rb"(?s)(?=([\xe8\xe9]|\x0f[\x80-\x8f])(....))")
_ADDRESS: Final = re.compile(rb"(?s)(?=[\x48-\x4f]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....))")
_SHORT: Final = re.compile(rb"(?s)(?=[\x70-\x7f\xeb\xe0-\xe3](.))")
_PADDING: Final = re.compile(
    rb"(?:\x90|\xcc|(?:[\x66\x2e])*\x0f\x1f(?:\x00|[\x40-\x43].|[\x44]..|[\x80].{4}|[\x84].{5})|\x66\x90)*",
    re.DOTALL,
)


class Site(NamedTuple):
    """A place in the text that refers to a function of the same library.

    Attributes:
        at: virtual address of the instruction's opcode.
        taken: whether it takes the address, and does not branch.
    """

    at: int
    taken: bool


@dataclass(frozen=True)
class Entries:
    """The functions of one library and who refers to them inside it."""

    library: Library

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where functions begin, ascending: named ones and those of the unwind table."""
        named = {s.value for s in self.library.functions.values()}
        return tuple(sorted(named | set(_unwind_starts(self.library))))

    @cached_property
    def sites(self) -> Mapping[int, tuple[Site, ...]]:
        """Entry -> every place in the text that branches to it or computes its address."""
        found: dict[int, list[Site]] = defaultdict(list)
        known = set(self.starts)
        for vaddr, text in self.library.texts:
            for at, target, taken in _references(vaddr, text):
                if target in known:
                    found[target].append(Site(at, taken))
        return {entry: tuple(sites) for entry, sites in found.items()}

    @cached_property
    def pointed_to(self) -> frozenset[int]:
        """Entries whose address lies in data that the linker filled in, such as method tables."""
        known = set(self.starts)
        found = set()
        for relocation in self.library.relocations:
            if relocation.type == X86_64.RELATIVE:
                addend = relocation.addend or _word(self.library, relocation.offset)
                if addend in known:
                    found.add(addend)
        return frozenset(found)

    def address_taken(self, entry: int) -> bool:
        """Whether a pointer to the function can have been saved somewhere."""
        return entry in self.pointed_to or any(s.taken for s in self.sites.get(entry, ()))

    def owner(self, address: int) -> int | None:
        """The start of the function that an address lies in."""
        index = bisect_right(self.starts, address)
        return self.starts[index - 1] if index else None

    def room(self, entry: int, size: int) -> int:
        """Bytes from the entry that no other code uses: the function and padding behind it."""
        index = bisect_right(self.starts, entry)
        after = self.starts[index] if index < len(self.starts) else entry + size + 16
        end = entry + size
        text = self.bytes_at(end, min(after - end, 16))
        padding = _PADDING.match(text)
        free = padding.end() if padding and size else 0
        if any(s.addr + s.size == end + free for s in self.library.image.sections if s.addr):
            free = min(len(text), self._until_next_section(end + free) - end)
        return size + free

    def _until_next_section(self, address: int) -> int:
        """Where the next section begins: what lies between two belongs to neither."""
        return min((s.addr for s in self.library.image.sections if s.addr >= address),
                   default=address)  # fmt: skip

    def jumps_into(self, entry: int, size: int) -> bool:
        """Whether the function itself branches to the bytes that a redirect overwrites.

        What only looks like such a branch is decoded, for it is mostly a part of another
        instruction; where the function does not decode as a whole, the look of it counts.
        """
        body = self.bytes_at(entry, size)
        begin = range(entry, entry + JUMP_SIZE)
        if not any(target in begin for target in _possible_branches(entry, body)):
            return False
        decoded = list(instructions(body, entry))
        if not decoded or decoded[-1].next_ip != entry + len(body):
            return True
        return any(target in begin for _, target in branches(body, entry))

    @cached_property
    def calls(self) -> Mapping[int, frozenset[int]]:
        """Function -> the functions of the library that it refers to."""
        found: dict[int, set[int]] = defaultdict(set)
        for callee, sites in self.sites.items():
            for site in sites:
                caller = self.owner(site.at)
                if caller is not None:
                    found[caller].add(callee)
        return {caller: frozenset(callees) for caller, callees in found.items()}

    def gap(self, entry: int) -> int:
        """Bytes from an entry to the next function, or to the end of its segment."""
        index = bisect_right(self.starts, entry)
        end = next((v + len(t) for v, t in self.library.texts if v <= entry < v + len(t)), entry)
        return min(self.starts[index], end) - entry if index < len(self.starts) else end - entry

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        """Bytes of the text as the file has them; fewer at a segment's end."""
        for start, text in self.library.texts:
            if start <= vaddr < start + len(text):
                return text[vaddr - start : vaddr - start + max(size, 0)]
        return b""


def _possible_branches(vaddr: int, text: bytes) -> Iterator[int]:
    """Where everything leads that looks like a branch, at whatever byte it begins."""
    for _, target, taken in _references(vaddr, text):
        if not taken:
            yield target
    for match in _SHORT.finditer(text):
        yield vaddr + match.start() + 2 + int(struct.unpack("b", match[1])[0])


def _references(vaddr: int, text: bytes) -> Iterator[tuple[int, int, bool]]:
    """(place, target, whether its address is taken) of everything that looks like one."""
    for match in _BRANCH.finditer(text):
        at, end = match.start(), match.end(2)
        yield vaddr + at, vaddr + end + struct.unpack("<i", match[2])[0], False
    for match in _ADDRESS.finditer(text):
        at, end = match.start(), match.end(1)
        yield vaddr + at, vaddr + end + struct.unpack("<i", match[1])[0], True


def _unwind_starts(library: Library) -> Iterator[int]:
    """The sorted table of .eh_frame_hdr (LSB Core 5.0 section 10.6.2), which strip leaves alone."""
    segment = library.image.segment(SegmentType.GNU_EH_FRAME)
    if segment is None or segment.filesz < 12:
        return
    data = library.image.at_offset(segment.offset, segment.filesz, "the unwind table")
    version, _pointer, count_encoding, table_encoding = data[:4]
    if version != 1 or count_encoding != 0x03 or table_encoding != 0x3B:
        return
    (count,) = struct.unpack_from("<I", data, 8)
    usable = data[12 : 12 + 8 * min(count, (len(data) - 12) // 8)]
    for start, _entry in struct.iter_unpack("<ii", usable):
        yield segment.vaddr + start


def _word(library: Library, vaddr: int) -> int:
    for segment in library.image.loads:
        if segment.holds(vaddr, 8):
            return int(struct.unpack("<Q", library.image.at_vaddr(vaddr, 8, "a relocated word"))[0])
    return 0
