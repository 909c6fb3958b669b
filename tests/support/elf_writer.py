"""ELF files made in memory, for what no linker would write."""

import struct
from dataclasses import dataclass, field

from libswap.elf.dynamic import Tag
from libswap.elf.format import SegmentType

ROOM = 16
"""Program headers that there is room for in front of the contents."""


@dataclass(slots=True)
class ElfWriter:
    """A file in which every address is the offset of the same number.

    Attributes:
        bits: 64 or 32.
        little: whether it is little-endian.
        machine: e_machine.
    """

    bits: int = 64
    little: bool = True
    machine: int = 62
    _body: bytearray = field(default_factory=bytearray)
    _segments: list[tuple[int, int, int]] = field(default_factory=list)
    _sections: list[tuple[int, ...]] = field(default_factory=list)
    _tags: list[tuple[int, int]] = field(default_factory=list)

    @property
    def order(self) -> str:
        return "<" if self.little else ">"

    @property
    def word(self) -> str:
        return "Q" if self.bits == 64 else "I"

    @property
    def next(self) -> int:
        """The address of what is put next."""
        return self._start + len(self._body)

    def pack(self, layout: str, *values: int) -> bytes:
        return struct.pack(self.order + layout, *values)

    def put(self, data: bytes) -> int:
        """Add contents; returns their address."""
        at = self.next
        self._body += data + bytes(-len(data) % 8)
        return at

    def tag(self, tag: Tag, value: int) -> None:
        """Add an entry to the dynamic section."""
        self._tags.append((tag, value))

    def table(self, tag: Tag, data: bytes) -> int:
        """Add contents that an entry of the dynamic section points to."""
        at = self.put(data)
        self.tag(tag, at)
        return at

    def segment(self, kind: SegmentType, at: int, size: int) -> None:
        self._segments.append((kind, at, size))

    # 65,280 sections and more: the first one must say how many, and which has the names
    def section(self, name: int, kind: int, at: int, size: int, link: int = 0) -> None:
        self._sections.append((name, kind, at, size, link))

    def symbol(self, name: int, size: int = 0) -> bytes:
        """An entry for a global function; `name` is its place in the string table."""
        if self.bits == 64:
            return self.pack("IBBHQQ", name, 0x12, 0, 1, 0, size)
        return self.pack("IIIBBH", name, 0, size, 0x12, 0, 1)

    def file(self) -> bytes:
        """The whole file."""
        if self._tags:
            dynamic = b"".join(self.pack(self.word * 2, *tag) for tag in [*self._tags, (0, 0)])
            self.segment(SegmentType.DYNAMIC, self.put(dynamic), len(dynamic))
        sections_at = self.put(b"".join(map(self._section, self._sections)))
        total = self.next
        segments = [*self._segments, (SegmentType.LOAD, 0, total)]
        assert len(segments) <= ROOM
        count = len(self._sections)
        count, names = (count, max(count - 1, 0)) if count < 0xFF00 else (0, 0xFFFF)
        w = self.word
        ident = b"\x7fELF" + bytes([self.bits // 32, 1 if self.little else 2, 1, 0]) + bytes(8)
        header = ident + self.pack(
            f"HHI{w}{w}{w}IHHHHHH", 3, self.machine, 1, 0, self._header_size,
            sections_at if self._sections else 0, 0, self._header_size,
            self._segment_size, len(segments), self._section_size, count, names,
        )  # fmt: skip
        front = header + b"".join(map(self._segment, segments))
        return front + bytes(self._start - len(front)) + self._body

    @property
    def _header_size(self) -> int:
        return 64 if self.bits == 64 else 52

    @property
    def _segment_size(self) -> int:
        return 56 if self.bits == 64 else 32

    @property
    def _section_size(self) -> int:
        return 64 if self.bits == 64 else 40

    @property
    def _start(self) -> int:
        return (self._header_size + ROOM * self._segment_size + 7) & ~7

    def _segment(self, segment: tuple[int, int, int]) -> bytes:
        kind, at, size = segment
        if self.bits == 64:
            return self.pack("IIQQQQQQ", kind, 4, at, at, at, size, size, 8)
        return self.pack("IIIIIIII", kind, at, at, at, size, size, 4, 4)

    def _section(self, section: tuple[int, ...]) -> bytes:
        name, kind, at, size, link = section
        return self.pack(
            f"II{self.word * 4}II{self.word * 2}", name, kind, 0, 0, at, size, link, 0, 1, 0
        )
