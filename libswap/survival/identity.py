"""Whether two files are the same to a process: code and data, whatever their build ids say."""

import hashlib
from typing import Final

from libswap.elf.format import SegmentType
from libswap.elf.image import Image

_SECTION_FIELDS: Final = ((40, 48), (58, 64))
"""e_shoff and e_shentsize to e_shstrndx of a 64-bit header: no process reads sections."""
_MAX_LOADED: Final = 1 << 28


def loaded(image: Image) -> bytes:
    """A digest of all that a process gets from a file, its notes left out.

    Raises:
        InvalidElf: a segment reaches out of the file.
    """
    digest = hashlib.sha256()
    notes = [s for s in image.segments if s.type == SegmentType.NOTE]
    for segment in image.loads:
        size = min(segment.filesz, _MAX_LOADED)
        data = bytearray(image.at_offset(segment.offset, size, "a segment"))
        holes = [(n.offset, n.offset + n.filesz) for n in notes]
        for start, end in (*holes, *_SECTION_FIELDS):
            low, high = max(start - segment.offset, 0), min(end - segment.offset, len(data))
            if low < high:
                data[low:high] = bytes(high - low)
        place = (segment.vaddr, segment.memsz, segment.flags, len(data))
        digest.update(repr(place).encode())
        digest.update(data)
    return digest.digest()
