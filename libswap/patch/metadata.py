"""The metadata of a patch file, read from JSON that may say anything."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, Final, TypeVar

from libswap.elf.instructions import JUMP_SIZE
from libswap.patch.findings import Finding, Severity
from libswap.patch.layout import MAX_SIZE, PAGE
from libswap.patch.patch import (
    FIRST,
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

_MAX_ITEMS: Final = 1 << 20
_MAX_TEXT: Final = 1 << 16
_ADDRESS: Final = 1 << 64
_FUNCTION: Final = 1 << 30
REFERENCES: Final[Mapping[str, type[Reference]]] = {
    "memory": Memory,
    "module": Module,
    "import": Import,
    "indirect": Indirect,
    "tls-module": TlsModule,
    "tls-block": TlsBlock,
}
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Enum)


class Bad(Exception):
    """What is wrong with a file."""


def patch_of(metadata: Mapping[str, object], blobs: bytes) -> Patch:
    """The patch that metadata and the regions' bytes describe.

    Raises:
        Bad: something is missing, of another kind, or out of range.
    """
    return _patch(_Reader(metadata), blobs)


class _Reader:
    """One JSON object, of which every field is asked for by its kind."""

    def __init__(self, found: object) -> None:
        if not isinstance(found, dict):
            raise Bad("an object is missing in its metadata")
        self._found: Mapping[str, object] = found

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise Bad(f"its {name} is no text")
        return value

    def number(self, name: str, end: int = _ADDRESS) -> int:
        return _number(self._get(name), 0, end, name)

    def offset(self, name: str, end: int) -> int | None:
        value = self._get(name)
        return None if value is None else _number(value, 0, end, name)

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            raise Bad(f"its {name} is neither true nor false")
        return value

    def data(self, name: str) -> bytes:
        try:
            return bytes.fromhex(self.text(name))
        except ValueError:
            raise Bad(f"its {name} is not hexadecimal") from None

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
            raise Bad(f"it has no {name}")
        return self._found[name]


def _number(value: object, low: int, high: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
        raise Bad(f"its {name} is out of range")
    return value


def _choice(value: object, kind: type[_E], name: str) -> _E:
    for member in kind:
        if member.value == value:
            return member
    raise Bad(f"its {name} is unknown")


def _items(value: object, name: str) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise Bad(f"its {name} is no list")
    return value


def _patch(reader: _Reader, blobs: bytes) -> Patch:
    size = _whole_pages(reader.number("size", MAX_SIZE + 1), "size")
    regions = _regions(reader, blobs, size)
    references = reader.each("references", _reference)
    replaced = reader.each("replaced", lambda r: _replaced(r, regions))
    if not replaced:
        raise Bad("it replaces nothing")
    if any(b.vaddr < a.vaddr + JUMP_SIZE for a, b in pairwise(replaced)):
        raise Bad("its replaced functions overlap, or are not in order")
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
            raise Bad("its regions do not follow each other")
        if used + data > len(blobs):
            raise Bad("a region reaches past its end")
        found.append(Region(protection, at, length, blobs[used : used + data]))
        at, used = at + length, used + data
    if at != size or used != len(blobs) or not found or found[0].protection.value != "r-x":
        raise Bad("its regions are not all of it")
    if len({r.protection for r in found}) != len(found):
        raise Bad("two of its regions have the same protection")
    return tuple(found)


def _whole_pages(size: int, name: str) -> int:
    if size % PAGE or not size:
        raise Bad(f"its {name} is not in whole pages")
    return size


def _reference(reader: _Reader) -> Reference:
    kind = REFERENCES.get(reader.text("kind"))
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
    raise Bad("it refers to something unknown")


def _fixups(items: Sequence[object], references: int, size: int) -> tuple[Fixup, ...]:
    found = []
    end = 0
    for item in items:
        row = _items(item, "fixup")
        if len(row) != 4:
            raise Bad("a fixup has not four members")
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
        raise Bad("a new function reaches out of its code")
    first = reader.data("first")
    if not JUMP_SIZE <= len(first) <= FIRST:
        raise Bad("a replaced function's first bytes are too few or too many")
    parts = tuple(_pair(item, 1 << 47) for item in reader.items("parts"))
    if any(size >= _FUNCTION for _, size in parts):
        raise Bad("a part of a replaced function is too large")
    return Replaced(
        name=reader.text("name"),
        unit=reader.text("unit"),
        vaddr=reader.number("vaddr", 1 << 47),
        size=reader.number("size", _FUNCTION),
        room=reader.number("room", _FUNCTION),
        first=first,
        parts=parts,
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
        raise Bad("its unwind table reaches out of its memory")
    return Unwind(start, length)


def _pin(reader: _Reader) -> Pin:
    found = Pin(
        reader.text("name"),
        reader.choice("kind", Kind),
        reader.text("build_id"),
        reader.text("sha256"),
    )
    if not found.build_id and not found.sha256:
        raise Bad("it does not say what it is for")
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
        raise Bad("one of its texts is none")
    return value


def _pair(value: object, end: int) -> tuple[int, int]:
    row = _items(value, "pair")
    if len(row) != 2:
        raise Bad("a pair has not two members")
    return _number(row[0], 0, end, "pair"), _number(row[1], 0, end, "pair")
