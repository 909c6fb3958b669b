"""The debug information of a file, as pyelftools reads it."""

import io
from typing import IO, Any, Final, cast

from elftools.elf.elffile import ELFFile

from libswap.elf.contents import Bytes
from libswap.elf.image import Image

_MOST: Final = 1 << 28
"""Bytes of debug sections that are read; reading is what takes the time."""


def readable(image: Image) -> bool:
    """Whether there is some, and not too much."""
    sizes = [s.size for s in image.sections if s.name.startswith((".debug_", ".zdebug_"))]
    return 0 < sum(sizes) <= _MOST


def dwarf_of(image: Image) -> Any:  # noqa: ANN401  pyelftools has no types
    """Its entries; pyelftools raises whatever damaged tables make it trip over."""
    return ELFFile(cast("IO[bytes]", _Stream(image.data))).get_dwarf_info()


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
