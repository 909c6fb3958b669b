"""The version nodes that a file defines and those that it wants.

Source: LSB Core 5.0 section 10.7 "Symbol Versioning". Each table is a chain of records that say
themselves how far it is to the next: every step is counted, so that no chain runs in a circle.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.elf.dynamic import Dynamic, Tag
from libswap.elf.image import Image, string_at

INDEX: Final = 0x7FFF
"""The bits of a versym entry that are the index."""
HIDDEN: Final = 0x8000
"""The bit of a versym entry that keeps unversioned references away."""
VER_FLG_WEAK: Final = 2
MAX_VERSIONS: Final = 0x7FFF
"""An index has 15 bits, so no table means more; it is the limit for steps along a chain."""

_DEFINITION: Final = "HHHHIII"
_DEFINITION_NAME: Final = "II"
_NEED: Final = "HHIII"
_NEED_NAME: Final = "IHHII"


class Version(NamedTuple):
    """A version index's meaning.

    Attributes:
        name: the node's name.
        library: for a wanted one, the soname that it is wanted from, else "".
        weak: whether the dynamic linker only warns where a wanted node is missing.
    """

    name: str
    library: str
    weak: bool = False


def version_definitions(image: Image, dynamic: Dynamic) -> dict[int, str]:
    """The version nodes that a library defines, by index (the file's own name, index 1, included).

    Raises:
        InvalidElf: the table is damaged.
    """
    address = dynamic.value(Tag.VERDEF)
    if address is None:
        return {}
    table = _Chain.at(image, address, "the version definitions")
    count = min(dynamic.value(Tag.VERDEFNUM) or 0, MAX_VERSIONS)
    found: dict[int, str] = {}
    for at, (_, _, index, _, _, aux, _) in table.walk(0, count, _DEFINITION):
        name, _ = table.record(at + aux, _DEFINITION_NAME)
        found[index & INDEX] = string_at(dynamic.strings, name)
    return found


def version_needs(image: Image, dynamic: Dynamic) -> dict[int, Version]:
    """The version nodes that a file wants from others, by index.

    Raises:
        InvalidElf: the table is damaged.
    """
    address = dynamic.value(Tag.VERNEED)
    if address is None:
        return {}
    table = _Chain.at(image, address, "the version needs")
    files = min(dynamic.value(Tag.VERNEEDNUM) or 0, MAX_VERSIONS)
    found: dict[int, Version] = {}
    for at, (_, count, file, aux, _) in table.walk(0, files, _NEED):
        library = string_at(dynamic.strings, file)
        for _, (_, flags, index, name, _) in table.walk(at + aux, count, _NEED_NAME):
            weak = bool(flags & VER_FLG_WEAK)
            found[index & INDEX] = Version(string_at(dynamic.strings, name), library, weak)
    return found


def versions(image: Image, dynamic: Dynamic) -> dict[int, Version]:
    """What each index of the version table means; 0 (local) and 1 (global) mean no version."""
    defined = {i: Version(name, "") for i, name in version_definitions(image, dynamic).items()}
    return {**defined, **version_needs(image, dynamic)}


@dataclass(slots=True)
class _Chain:
    """The bytes from a table's start to its segment's end, and the steps that are left."""

    image: Image
    data: bytes
    what: str
    steps: int = MAX_VERSIONS

    @classmethod
    def at(cls, image: Image, vaddr: int, what: str) -> "_Chain":
        return cls(image, image.rest_of_segment(vaddr, what), what)

    def walk(self, at: int, count: int, layout: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The records of a chain, whose last field is the distance to the next one."""
        for _ in range(count):
            self.steps -= 1
            if self.steps < 0:
                raise self.image.bad(f"{self.what} have more than {MAX_VERSIONS} records")
            fields = self.record(at, layout)
            yield at, fields
            if fields[-1] == 0:
                return
            at += fields[-1]

    def record(self, at: int, layout: str) -> tuple[int, ...]:
        record = struct.Struct(self.image.order + layout)
        if at + record.size > len(self.data):
            raise self.image.bad(f"{self.what} reach past the end of their segment")
        return record.unpack_from(self.data, at)
