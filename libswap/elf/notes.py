"""The notes of a file: the build id and the GNU properties.

Sources: gABI chapter 5 "Note Section"; Linux Extensions to gABI ".note.gnu.property"; ld(1)
--build-id.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from libswap.elf.format import EM_386, EM_X86_64, SegmentType
from libswap.elf.image import Image

NT_GNU_BUILD_ID: Final = 3
NT_GNU_PROPERTY_TYPE_0: Final = 5
GNU_PROPERTY_X86_FEATURE_1_AND: Final = 0xC0000002
GNU_PROPERTY_X86_ISA_1_NEEDED: Final = 0xC0008002
X86_FEATURE_1_IBT: Final = 1
X86_FEATURE_1_SHSTK: Final = 2
_MAX_BUILD_ID: Final = 64
_MAX_NOTES: Final = 1 << 20
"""Bytes of all note segments together; they overlap in a hostile file."""


class X86Properties(NamedTuple):
    """What the linker wrote down about x86 code.

    Attributes:
        features: the CET bits (X86_FEATURE_1_AND) that all of the file supports.
        isa_needed: one bit for each needed level of instructions (X86_ISA_1_NEEDED): 1 baseline,
            2 x86-64-v2, 4 x86-64-v3, 8 x86-64-v4.
    """

    features: int
    isa_needed: int


class Note(NamedTuple):
    """One note: its owner, its type and its contents."""

    owner: bytes
    type: int
    contents: bytes


def notes(image: Image) -> Iterator[Note]:
    """Every note that the NOTE segments hold.

    Raises:
        InvalidElf: a segment reaches out of the file, or the notes never end.
    """
    room = _MAX_NOTES
    for segment in image.segments:
        if segment.type == SegmentType.NOTE:
            room -= segment.filesz
            if room < 0:
                raise image.bad(f"its notes are more than {_MAX_NOTES} bytes")
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


def x86_properties(image: Image) -> X86Properties:
    """The x86 properties of a file; all zero for one that has none, or another machine's."""
    found: dict[int, int] = {}
    if image.header.machine in (EM_386, EM_X86_64):
        for note in notes(image):
            if note.owner == b"GNU" and note.type == NT_GNU_PROPERTY_TYPE_0:
                found.update(_properties(image, note.contents))
    return X86Properties(
        found.get(GNU_PROPERTY_X86_FEATURE_1_AND, 0), found.get(GNU_PROPERTY_X86_ISA_1_NEEDED, 0)
    )


def _properties(image: Image, data: bytes) -> Iterator[tuple[int, int]]:
    """The properties whose value is one 32-bit word, as all of x86 are."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{image.order}II", data, at)
        if size == 4 and at + 12 <= len(data):
            yield kind, struct.unpack_from(f"{image.order}I", data, at + 8)[0]
        at += 8 + _round_up(size, image.word_size)


def _round_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) & -alignment
