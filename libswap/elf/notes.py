"""The notes of a file: the build id and the GNU properties.

Sources: gABI chapter 5 "Note Section"; Linux Extensions to gABI ".note.gnu.property"; ld(1)
--build-id.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from libswap.elf.image import Image, SegmentType

NT_GNU_BUILD_ID: Final = 3
NT_GNU_PROPERTY_TYPE_0: Final = 5
GNU_PROPERTY_X86_FEATURE_1_AND: Final = 0xC0000002
X86_FEATURE_1_IBT: Final = 1
X86_FEATURE_1_SHSTK: Final = 2
_MAX_BUILD_ID: Final = 64


class Note(NamedTuple):
    """One note: its owner, its type and its contents."""

    owner: bytes
    type: int
    contents: bytes


def notes(image: Image) -> Iterator[Note]:
    """Every note that the NOTE segments hold.

    Raises:
        InvalidElf: a segment reaches out of the file.
    """
    for segment in image.segments:
        if segment.type == SegmentType.NOTE:
            data = image.at_offset(segment.offset, segment.filesz, "a note segment")
            yield from parse_notes(data, image.order, 8 if segment.align == 8 else 4)


def parse_notes(data: bytes, order: str, alignment: int) -> Iterator[Note]:
    """The notes of one segment or section; a note that is cut off ends the list."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from(f"{order}III", data, at)
        contents_at = at + _round_up(12 + name_size, alignment)
        if contents_at + size > len(data):
            return
        owner = data[at + 12 : at + 12 + name_size].rstrip(b"\0")
        yield Note(owner, kind, data[contents_at : contents_at + size])
        at = contents_at + _round_up(size, alignment)


def build_id(image: Image) -> str | None:
    """The build id in hexadecimal, or None for a file that was linked without one."""
    for note in notes(image):
        if note.owner == b"GNU" and note.type == NT_GNU_BUILD_ID:
            return note.contents[:_MAX_BUILD_ID].hex() or None
    return None


def x86_features(image: Image) -> int:
    """The X86_FEATURE_1_AND bits (IBT, SHSTK) that the whole file supports."""
    for note in notes(image):
        if note.owner == b"GNU" and note.type == NT_GNU_PROPERTY_TYPE_0:
            at = 0
            while at + 8 <= len(note.contents):
                kind, size = struct.unpack_from(f"{image.order}II", note.contents, at)
                value = note.contents[at + 8 : at + 8 + size]
                if kind == GNU_PROPERTY_X86_FEATURE_1_AND and len(value) >= 4:
                    return int.from_bytes(value[:4], "little")
                at += 8 + _round_up(size, image.word_size)
    return 0


def _round_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) & -alignment
