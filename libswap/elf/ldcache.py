"""The dynamic linker's cache, /etc/ld.so.cache, as ldconfig(8) of glibc writes it.

Source: glibc's sysdeps/generic/dl-cache.h: struct cache_file_new and the glibc-hwcaps extension.
The file may come from another root: every offset is checked, and damaged entries are left out.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, Self

from libswap.elf.image import string_at

PATH: Final = "/etc/ld.so.cache"
MAX_SIZE: Final = 1 << 26
"""Bytes; a machine with ten thousand libraries has two million."""

_OLD_MAGIC: Final = b"ld.so-1.7.0\0"
_MAGIC: Final = b"glibc-ld.so.cache1.1"
_HEADER: Final = struct.Struct("=20sIIB3xI12x")
_ENTRY: Final = struct.Struct("=iIIIQ")
_EXTENSION_MAGIC: Final = 0xEAA42174
_TAG_HWCAPS: Final = 1
_HWCAP_EXTENSION: Final = 1 << 30
_ISA_BITS: Final = (1 << 10) - 1


class Entry(NamedTuple):
    """One path of a library; `subdirectory` is its glibc-hwcaps one, "" for none."""

    path: str
    subdirectory: str


@dataclass(frozen=True, slots=True)
class Cache:
    """Paths by the name that DT_NEEDED asks for."""

    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The entries of a cache file; empty for one of another format."""
        data = _without_old_part(data)
        if len(data) < _HEADER.size:
            return cls()
        magic, count, _, _, extension = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            return cls()
        names = _subdirectories(data, extension)
        found: dict[str, tuple[Entry, ...]] = {}
        rows = _ENTRY.iter_unpack(data[_HEADER.size : _end_of_rows(data, count)])
        for _, key, value, _, hwcap in rows:
            subdirectory = _subdirectory(hwcap, names)
            if subdirectory is not None:
                name, entry = string_at(data, key), Entry(string_at(data, value), subdirectory)
                found[name] = (*found.get(name, ()), entry)
        return cls(found)

    def paths(self, name: str, subdirectories: tuple[str, ...]) -> Iterator[str]:
        """Where a library may lie, the best first.

        Args:
            name: as in DT_NEEDED.
            subdirectories: the glibc-hwcaps ones that this machine can use, the best first.
        """
        entries = self.entries.get(name, ())
        for wanted in (*subdirectories, ""):
            yield from (entry.path for entry in entries if entry.subdirectory == wanted)


def _without_old_part(data: bytes) -> bytes:
    """Skip the table for glibc before 2.2 that ldconfig wrote in front until 2.32."""
    if not data.startswith(_OLD_MAGIC) or len(data) < 16:
        return data
    (count,) = struct.unpack_from("=I", data, 12)
    return data[(16 + 12 * count + 7) & ~7 :]


def _end_of_rows(data: bytes, count: int) -> int:
    room = (len(data) - _HEADER.size) // _ENTRY.size
    return _HEADER.size + min(count, room) * _ENTRY.size


def _subdirectory(hwcap: int, names: tuple[str, ...]) -> str | None:
    """The name of an entry's subdirectory; None for one that this reader cannot judge."""
    if hwcap == 0:
        return ""
    index = hwcap & 0xFFFFFFFF
    if hwcap >> 32 & ~_ISA_BITS == _HWCAP_EXTENSION and index < len(names):
        return names[index]
    return None


def _subdirectories(data: bytes, at: int) -> tuple[str, ...]:
    """The names in the glibc-hwcaps section of the extension."""
    if at == 0 or at + 8 > len(data):
        return ()
    magic, count = struct.unpack_from("=II", data, at)
    if magic != _EXTENSION_MAGIC:
        return ()
    room = (len(data) - at - 8) // 16
    sections = struct.iter_unpack("=IIII", data[at + 8 : at + 8 + 16 * min(count, room)])
    for tag, _, offset, size in islice(sections, 64):
        if tag == _TAG_HWCAPS and offset + size <= len(data) and size % 4 == 0:
            places = struct.unpack_from(f"={size // 4}I", data, offset)
            return tuple(string_at(data, place) for place in places[:64])
    return ()
