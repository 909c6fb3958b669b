"""Where the symbol table of a stripped file is kept: beside it, under /usr/lib/debug, or inside it.

Sources: the gdb manual, "Debugging Information in Separate Files" and "MiniDebugInfo".
"""

import lzma
import os
import posixpath
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from libswap.elf.format import SectionType
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.errors.base import InvalidElf
from libswap.linux.rooted import Root

DIRECTORY: Final = "/usr/lib/debug"
_MAX_UNPACKED: Final = 1 << 26
"""Bytes of an unpacked .gnu_debugdata; the largest in use are a few million."""
_MAX_LINKED: Final = 1 << 32
"""Bytes of a file that is read through for its checksum."""
_CHUNK: Final = 1 << 20


def with_symbols(image: Image, path: str, roots: Iterable[Root]) -> Image | None:
    """The file that holds the .symtab of `image`, which is `image` itself if it is not stripped.

    A separate file is taken only when it has the build id of `image`, or the checksum that
    `image` asks for.

    Args:
        image: a library or a program.
        path: its absolute path, in the terms of the roots.
        roots: where to look, the most trusted first.

    Returns:
        None where no symbol table is found.
    """
    return _separate(image, path, roots, _has_symbols) or _embedded(image)


def with_debug_info(image: Image, path: str, roots: Iterable[Root]) -> Image | None:
    """The file that holds the DWARF of `image`; otherwise as `with_symbols`."""
    return _separate(image, path, roots, _has_debug_info)


def _separate(
    image: Image, path: str, roots: Iterable[Root], has: Callable[[Image], bool]
) -> Image | None:
    if has(image):
        return image
    places = [*_by_build_id(image), *_by_link(image, path)]
    for root in roots:
        for place, checksum in places:
            found = _open(root, place)
            if found and has(found) and _belongs(found, image, checksum):
                return found
    return None


def debug_link(image: Image) -> tuple[str, int] | None:
    """The file name and the CRC-32 in .gnu_debuglink; None without one, or with a damaged one."""
    data = _section(image, ".gnu_debuglink")
    name, end, _ = data.partition(b"\0")
    at = (len(name) + 1 + 3) & ~3
    if not end or not name or b"/" in name or name in (b".", b"..") or len(data) < at + 4:
        return None
    (checksum,) = struct.unpack_from(f"{image.order}I", data, at)
    return os.fsdecode(name), checksum


def _by_build_id(image: Image) -> Iterator[tuple[str, int | None]]:
    found = build_id(image)
    if found and len(found) > 2:
        yield f"{DIRECTORY}/.build-id/{found[:2]}/{found[2:]}.debug", None


def _by_link(image: Image, path: str) -> Iterator[tuple[str, int | None]]:
    link = debug_link(image)
    if link:
        name, checksum = link
        directory = posixpath.dirname(path)
        for place in (directory, f"{directory}/.debug", f"{DIRECTORY}{directory}"):
            yield f"{place}/{name}", checksum


def _belongs(found: Image, image: Image, checksum: int | None) -> bool:
    if (found.header.machine, found.header.bits) != (image.header.machine, image.header.bits):
        return False
    wanted = build_id(image)
    if wanted is not None:
        return build_id(found) == wanted
    return checksum is not None and _crc(found) == checksum


def _crc(image: Image) -> int | None:
    """The CRC-32 of a whole file, as .gnu_debuglink has it; None for one that is far too large."""
    size = len(image.data)
    if size > _MAX_LINKED:
        return None
    value = 0
    for at in range(0, size, _CHUNK):
        value = zlib.crc32(image.data[at : at + _CHUNK], value)
    return value


def _embedded(image: Image) -> Image | None:
    """The .gnu_debugdata of a file: an ELF file with a .symtab, packed by xz."""
    packed = _section(image, ".gnu_debugdata")
    if not packed:
        return None
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_UNPACKED)
        found = Image(unpacker.decompress(packed, _MAX_UNPACKED), f"{image.name}(.gnu_debugdata)")
        return found if _has_symbols(found) else None
    except (lzma.LZMAError, InvalidElf):
        return None


def _open(root: Root, path: str) -> Image | None:
    """A file that may be missing or damaged: another place may have a better one."""
    try:
        descriptor = root.open_regular(path)
    except OSError:
        return None
    try:
        return Image.read(descriptor, path)
    except InvalidElf:
        return None
    finally:
        os.close(descriptor)


def _has_symbols(image: Image) -> bool:
    try:
        return any(s.type == SectionType.SYMTAB and s.size for s in image.sections)
    except InvalidElf:
        return False


def _has_debug_info(image: Image) -> bool:
    try:
        return any(
            s.name in (".debug_info", ".zdebug_info") and s.type != SectionType.NOBITS
            for s in image.sections
        )
    except InvalidElf:
        return False


def _section(image: Image, name: str) -> bytes:
    """The bytes of a section; none where it is missing, or damaged."""
    try:
        section = image.section(name)
        return image.section_bytes(section) if section else b""
    except InvalidElf:
        return b""
