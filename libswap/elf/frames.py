"""Where functions begin and end, as the unwind tables tell it of a stripped file too.

Sources: LSB Core 5.0 section 10.6 ".eh_frame" and ".eh_frame_hdr"; DWARF 5 section 6.4.
"""

import struct
from collections.abc import Iterator
from typing import Final

from libswap.elf.format import SegmentType
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf
from libswap.linux.memory import Range

MAX_FRAMES: Final = 1 << 20
"""The largest libraries in use have a quarter of it."""
_MAX_BYTES: Final = 1 << 27
_SDATA4: Final = 0x0B
_PC_RELATIVE: Final = 0x10
_ABSOLUTE: Final = 0x00
_WORDS: Final = {0x00: "Q", 0x02: "H", 0x03: "I", 0x04: "Q", 0x0A: "h", 0x0B: "i", 0x0C: "q"}


def frames(image: Image) -> tuple[Range, ...]:
    """The ranges of code that the unwind tables describe, each a function or a part of one.

    Args:
        image: a 64-bit little-endian file.

    Returns:
        In the order of their addresses; empty where the tables are missing or damaged.
    """
    try:
        return tuple(sorted(set(_read(image))))
    except (InvalidElf, struct.error):
        return ()


def _read(image: Image) -> Iterator[Range]:
    start, data = _section(image)
    encodings: dict[int, int | None] = {}
    at = 0
    for _ in range(MAX_FRAMES):
        if at + 8 > len(data):
            return
        length, back = struct.unpack_from("<II", data, at)
        if length in (0, 0xFFFFFFFF):  # the end; or 64 bits, which no linker writes here
            return
        body, at = at + 8, at + 4 + length
        if back:
            cie = body - 4 - back
            if cie not in encodings:
                encodings[cie] = _encoding(data, cie)
            found = _range(data, body, start, encodings[cie])
            if found is not None:
                yield found


def _section(image: Image) -> tuple[int, bytes]:
    """Address and bytes of .eh_frame, found by its header as unwinders do it."""
    header = image.segment(SegmentType.GNU_EH_FRAME)
    if header is None:
        return 0, b""
    head = image.at_vaddr(header.vaddr, 8, "the header of the unwind table")
    version, encoding, _, _ = head[:4]
    if version != 1 or encoding != _PC_RELATIVE | _SDATA4:
        return 0, b""
    start = header.vaddr + 4 + struct.unpack_from("<i", head, 4)[0]
    return start, image.rest_of_segment(start, "the unwind table", _MAX_BYTES)


def _encoding(data: bytes, cie: int) -> int | None:
    """How the FDEs of a CIE write addresses, None where that is not said in a usual way."""
    if not 0 <= cie <= len(data) - 10:
        return None
    end = data.find(b"\0", cie + 9, cie + 24)
    letters = data[cie + 9 : end] if end > 0 else b"?"
    at = _after_uleb(data, _after_uleb(data, end + 1)) + 1  # alignments, return address register
    if not letters.startswith(b"z"):
        return _ABSOLUTE if not letters else None
    at = _after_uleb(data, at)
    for letter in letters[1:]:
        if at >= len(data):
            return None
        match chr(letter):
            case "R":
                return data[at]
            case "L":
                at += 1
            case "P":
                at += 1 + struct.calcsize(_WORDS.get(data[at] & 0x0F, "Q"))
            case "S" | "B":
                pass
            case _:
                return None
    return _ABSOLUTE


def _after_uleb(data: bytes, at: int) -> int:
    end = min(at + 10, len(data))
    while at < end and data[at] & 0x80:
        at += 1
    return at + 1


def _range(data: bytes, at: int, start: int, encoding: int | None) -> Range | None:
    word = None if encoding is None else _WORDS.get(encoding & 0x0F)
    if word is None or encoding is None or encoding & 0x60:
        return None
    size = struct.calcsize(word)
    if at + 2 * size > len(data):
        return None
    (begin,) = struct.unpack_from(f"<{word}", data, at)
    (length,) = struct.unpack_from(f"<{word.upper()}", data, at + size)
    if encoding & _PC_RELATIVE:
        begin += start + at
    return Range(begin, begin + length) if length and begin >= 0 else None
