"""The debug information of a file, as pyelftools reads it."""

import io
import zlib
from typing import IO, Any, Final, cast

from elftools.elf.elffile import ELFFile

from libswap.elf.contents import Bytes
from libswap.elf.format import Section
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf

MAX_UNIT: Final = 1 << 24
"""Bytes of a unit that is read; each entry takes some hundred times as much memory."""
_MOST: Final = 1 << 28
"""Bytes of debug sections that are read; reading is what takes the time."""
_ET_REL: Final = 1
_COMPRESSED: Final = 1 << 11
"""SHF_COMPRESSED (gABI chapter 4, "Section Compression")."""
_READ: Final = (".debug_", ".zdebug_", ".eh_frame", ".gnu_debug")
_PIECE: Final = 1 << 20
_OLD_HEAD: Final = 12
"""Of a .zdebug section: "ZLIB", and the size of its contents with the highest byte first."""


def readable(image: Image) -> bool:
    """Whether there is some, and not too much once it is no longer compressed."""
    total, found = 0, False
    try:
        for section in image.sections:
            if section.name.startswith(_READ):
                total += _size(image, section, _MOST - total)
                found = found or "debug_" in section.name
                if total > _MOST:
                    return False
    except (InvalidElf, zlib.error):
        return False
    return found and total > 0


def dwarf_of(image: Image) -> Any:  # noqa: ANN401  pyelftools has no types
    """Its entries; pyelftools raises whatever damaged tables make it trip over."""
    file = ELFFile(cast("IO[bytes]", _Stream(image.data)))
    return file.get_dwarf_info(relocate_dwarf_sections=image.header.type == _ET_REL)


def _size(image: Image, section: Section, most: int) -> int:
    """Bytes that a section has when it is read; more than `most` where it has more."""
    if section.flags & _COMPRESSED:
        layout = "IIQQ" if image.header.bits == 64 else "III"
        head = image.at_offset(section.offset, 24 if image.header.bits == 64 else 12, "a section")
        return next(image.unpack(layout, head))[-2]
    if section.name.startswith(".zdebug_"):
        return _unpacked(image.section_bytes(section)[_OLD_HEAD:], most)
    return section.size


def _unpacked(data: bytes, most: int) -> int:
    """The size of what is compressed, counted up to a limit: pyelftools trusts no head either."""
    stream, size = zlib.decompressobj(), 0
    while data and size <= most and not stream.eof:
        size += len(stream.decompress(data, _PIECE))
        data = stream.unconsumed_tail
    return size


class _Stream(io.RawIOBase):
    """The bytes of an image as pyelftools wants them."""

    def __init__(self, data: Bytes) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._at + size
        found = bytes(self._data[self._at : end])
        self._at += len(found)
        return found
