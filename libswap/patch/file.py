"""The patch file (.lsp): one patch, whole or not at all.

docs/reference/patch-file.md describes it. A reader trusts nothing: the checksum only tells damage,
not malice, so that every number is checked before it is used.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from libswap.errors import InvalidPatch
from libswap.patch.findings import Finding, Severity
from libswap.patch.layout import MAX_SIZE, PAGE
from libswap.patch.patch import (
    ORIGINAL_ROOM,
    Field,
    Fixup,
    Hooks,
    Import,
    Indirect,
    Kind,
    Memory,
    Module,
    Original,
    Patch,
    Pin,
    Protection,
    Reference,
    Region,
    Replaced,
    TlsBlock,
    TlsModule,
    Unwind,
    Use,
)

MAGIC: Final = b"\x89LSP\r\n\x1a\n"
"""As that of PNG: a copy in text mode, or through 7 bits, shows at once."""
FORMAT: Final = 1
MAX_FILE: Final = 1 << 30
_HEADER: Final = struct.Struct("<8sIIQ32s")
_MAX_METADATA: Final = 1 << 26
_MAX_ITEMS: Final = 1 << 20
_MAX_TEXT: Final = 1 << 16
_ADDRESS: Final = 1 << 64
_REFERENCES: Final[Mapping[str, type[Reference]]] = {
    "memory": Memory,
    "module": Module,
    "import": Import,
    "indirect": Indirect,
    "tls-module": TlsModule,
    "tls-block": TlsBlock,
}
_WORDS: Final = {kind: word for word, kind in _REFERENCES.items()}
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Enum)


def encode(patch: Patch) -> bytes:
    """The bytes of a patch file; the same patch always gives the same bytes."""
    metadata = json.dumps(
        _metadata(patch), ensure_ascii=True, sort_keys=True, separators=(",", ":")
    ).encode()
    blobs = b"".join(region.data for region in patch.regions)
    size = _HEADER.size + len(metadata) + len(blobs)
    head = (MAGIC, FORMAT, len(metadata), size)
    digest = hashlib.sha256(_HEADER.pack(*head, bytes(32)) + metadata + blobs).digest()
    return _HEADER.pack(*head, digest) + metadata + blobs


def identity(data: bytes) -> str:
    """What tells one patch from another: the checksum in its file, in hexadecimal."""
    return data[_HEADER.size - 32 : _HEADER.size].hex()


def decode(data: bytes, name: str) -> Patch:
    """The patch in a file.

    Args:
        data: the whole file.
        name: what to call it.

    Raises:
        InvalidPatch: it is damaged, is of a later format, or is none.
    """
    try:
        metadata, blobs = _open(data)
        return _patch(_Reader(metadata), blobs)
    except _Bad as error:
        raise InvalidPatch(name, str(error)) from None


class _Bad(Exception):
    """What is wrong with a file."""


def _open(data: bytes) -> tuple[Mapping[str, object], bytes]:
    if data[: len(MAGIC)] != MAGIC:
        raise _Bad("it does not begin as a patch file does")
    if len(data) < _HEADER.size:
        raise _Bad("it ends inside its header")
    _magic, version, length, size, digest = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise _Bad(f"it has format {version}; this libswap reads format {FORMAT}")
    if size != len(data):
        raise _Bad(f"it should have {size} bytes and has {len(data)}")
    zeroed = data[: _HEADER.size - 32] + bytes(32) + data[_HEADER.size :]
    if hashlib.sha256(zeroed).digest() != digest:
        raise _Bad("its checksum is wrong: it was changed or damaged")
    if length > min(_MAX_METADATA, len(data) - _HEADER.size):
        raise _Bad("its metadata reaches past its end")
    end = _HEADER.size + length
    try:
        metadata = json.loads(data[_HEADER.size : end])
    except (ValueError, RecursionError):
        raise _Bad("its metadata is no JSON") from None
    if not isinstance(metadata, dict):
        raise _Bad("its metadata is no object")
    return metadata, data[end:]


def _metadata(patch: Patch) -> dict[str, object]:
    found = {f.name: _plain(getattr(patch, f.name)) for f in fields(patch)}
    found["regions"] = [
        {
            "protection": r.protection.value,
            "offset": r.offset,
            "size": r.size,
            "data": len(r.data),
        }
        for r in patch.regions
    ]
    found["references"] = [{"kind": _WORDS[type(r)], **asdict(r)} for r in patch.references]
    found["fixups"] = [[f.place, f.field.value, f.reference, f.addend] for f in patch.fixups]
    return found


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


class _Reader:
    """One JSON object, of which every field is asked for by its kind."""

    def __init__(self, found: object) -> None:
        if not isinstance(found, dict):
            raise _Bad("an object is missing in its metadata")
        self._found: Mapping[str, object] = found

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise _Bad(f"its {name} is no text")
        return value

    def number(self, name: str, end: int = _ADDRESS) -> int:
        return _number(self._get(name), 0, end, name)

    def offset(self, name: str, end: int) -> int | None:
        value = self._get(name)
        return None if value is None else _number(value, 0, end, name)

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise _Bad(f"its {name} is neither true nor false")
        return value

    def data(self, name: str) -> bytes:
        try:
            return bytes.fromhex(self.text(name))
        except ValueError:
            raise _Bad(f"its {name} is not hexadecimal") from None

    def choice(self, name: str, kind: type[_E]) -> _E:
        return _choice(self._get(name), kind, name)

    def items(self, name: str) -> Sequence[object]:
        return _items(self._get(name), name)

    def each(self, name: str, make: "Callable[[_Reader], _T]") -> tuple[_T, ...]:
        return tuple(make(_Reader(item)) for item in self.items(name))

    def inner(self, name: str) -> "_Reader | None":
        value = self._get(name)
        return None if value is None else _Reader(value)

    def needed(self, name: str) -> "_Reader":
        return _Reader(self._get(name))

    def _get(self, name: str) -> object:
        if name not in self._found:
            raise _Bad(f"it has no {name}")
        return self._found[name]


def _number(value: object, low: int, high: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
        raise _Bad(f"its {name} is out of range")
    return value


def _choice(value: object, kind: type[_E], name: str) -> _E:
    for member in kind:
        if member.value == value:
            return member
    raise _Bad(f"its {name} is unknown")


def _items(value: object, name: str) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise _Bad(f"its {name} is no list")
    return value


def _patch(reader: _Reader, blobs: bytes) -> Patch:
    size = _whole_pages(reader.number("size", MAX_SIZE + 1), "size")
    regions = _regions(reader, blobs, size)
    references = reader.each("references", _reference)
    replaced = reader.each("replaced", lambda r: _replaced(r, regions))
    if not replaced:
        raise _Bad("it replaces nothing")
    return Patch(
        description=reader.text("description"),
        sources=tuple(_text(item) for item in reader.items("sources")),
        pin=_pin(reader.needed("pin")),
        size=size,
        regions=regions,
        references=references,
        fixups=_fixups(reader.items("fixups"), len(references), size),
        replaced=replaced,
        originals=reader.each("originals", lambda r: _original(r, regions, len(replaced))),
        hooks=_hooks(reader.needed("hooks"), regions),
        unwind=_unwind(reader.inner("unwind"), size),
        uses=reader.each("uses", _use),
        findings=reader.each("findings", _finding),
        near=reader.boolean("near"),
    )


def _regions(reader: _Reader, blobs: bytes, size: int) -> tuple[Region, ...]:
    """Code first, then constants, then data, without a gap and with all the bytes used."""
    found: list[Region] = []
    at = used = 0
    for item in reader.items("regions"):
        one = _Reader(item)
        protection = one.choice("protection", Protection)
        length = _whole_pages(one.number("size", size + 1), "region size")
        data = one.number("data", length + 1)
        if one.number("offset", size + 1) != at or (found and protection.value == "r-x"):
            raise _Bad("its regions do not follow each other")
        if used + data > len(blobs):
            raise _Bad("a region reaches past its end")
        found.append(Region(protection, at, length, blobs[used : used + data]))
        at, used = at + length, used + data
    if at != size or used != len(blobs) or not found or found[0].protection.value != "r-x":
        raise _Bad("its regions are not all of it")
    if len({r.protection for r in found}) != len(found):
        raise _Bad("two of its regions have the same protection")
    return tuple(found)


def _whole_pages(size: int, name: str) -> int:
    if size % PAGE or not size:
        raise _Bad(f"its {name} is not in whole pages")
    return size


def _reference(reader: _Reader) -> Reference:
    kind = _REFERENCES.get(reader.text("kind"))
    if kind is Import:
        return Import(
            reader.text("name"),
            reader.text("version"),
            reader.text("library"),
            reader.boolean("weak"),
        )
    if kind is Indirect:
        return Indirect(reader.number("vaddr"))
    return _choice_of_place(kind)


def _choice_of_place(kind: type[Reference] | None) -> Reference:
    for place in (Memory, Module, TlsModule, TlsBlock):
        if kind is place:
            return place()
    raise _Bad("it refers to something unknown")


def _fixups(items: Sequence[object], references: int, size: int) -> tuple[Fixup, ...]:
    found = []
    end = 0
    for item in items:
        row = _items(item, "fixup")
        if len(row) != 4:
            raise _Bad("a fixup has not four members")
        shape = _choice(row[1], Field, "fixup")
        place = _number(row[0], end, size - shape.size + 1, "fixup place")
        end = place + shape.size
        reference = _number(row[2], 0, references, "fixup reference")
        found.append(
            Fixup(place, shape, reference, _number(row[3], -_ADDRESS, _ADDRESS, "fixup addend"))
        )
    return tuple(found)


def _replaced(reader: _Reader, regions: tuple[Region, ...]) -> Replaced:
    code = regions[0].size
    start, length = _pair(reader._get("code"), code + 1)  # noqa: SLF001  one module
    if start + length > code:
        raise _Bad("a new function reaches out of its code")
    return Replaced(
        name=reader.text("name"),
        unit=reader.text("unit"),
        vaddr=reader.number("vaddr", 1 << 47),
        size=reader.number("size", 1 << 32),
        room=reader.number("room", 1 << 33),
        first=reader.data("first"),
        parts=tuple(_pair(item, 1 << 47) for item in reader.items("parts")),
        by=reader.text("by"),
        entry=reader.number("entry", code),
        code=(start, length),
    )


def _original(reader: _Reader, regions: tuple[Region, ...], replaced: int) -> Original:
    place = reader.number("offset", regions[0].size - ORIGINAL_ROOM + 1)
    return Original(place, reader.number("replaced", replaced))


def _hooks(reader: _Reader, regions: tuple[Region, ...]) -> Hooks:
    end = regions[0].size
    return Hooks(
        tuple(_number(item, 0, end, "constructor") for item in reader.items("constructors")),
        reader.offset("pre_apply", end),
        reader.offset("post_apply", end),
        reader.offset("pre_revert", end),
    )


def _unwind(reader: _Reader | None, size: int) -> Unwind | None:
    if reader is None:
        return None
    start, length = reader.number("offset", size), reader.number("size", size)
    if start + length > size:
        raise _Bad("its unwind table reaches out of its memory")
    return Unwind(start, length)


def _pin(reader: _Reader) -> Pin:
    found = Pin(
        reader.text("name"),
        reader.choice("kind", Kind),
        reader.text("build_id"),
        reader.text("sha256"),
    )
    if not found.build_id and not found.sha256:
        raise _Bad("it does not say what it is for")
    return found


def _use(reader: _Reader) -> Use:
    return Use(
        reader.text("name"), reader.text("unit"), reader.number("vaddr"), reader.text("what")
    )


def _finding(reader: _Reader) -> Finding:
    return Finding(
        reader.choice("severity", Severity),
        reader.text("word"),
        reader.text("subject"),
        reader.text("detail"),
        reader.text("instead"),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise _Bad("one of its texts is none")
    return value


def _pair(value: object, end: int) -> tuple[int, int]:
    row = _items(value, "pair")
    if len(row) != 2:
        raise _Bad("a pair has not two members")
    return _number(row[0], 0, end, "pair"), _number(row[1], 0, end, "pair")
