"""Where everything comes to lie in a patch's memory: sections, and what relocations ask for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from libswap.elf.relocatable import ObjectSection
from libswap.patch import replace
from libswap.patch.layout import PAGE, Chosen, SectionKey, aligned, place
from libswap.patch.patch import ORIGINAL_ROOM, Protection, Region, Unwind
from libswap.patch.relocate import STUB_SIZE, Content, Places, Slot, slot_of, stub_of
from libswap.patch.resolve import ORIGINAL, Meaning, Names, OriginalOf
from libswap.patch.target import Target

_Item = TypeVar("_Item")
_ALIGNMENT: Final = 16
_UNWIND_END: Final = 4
_INT3: Final = b"\xcc"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the relocations ask for besides the sections."""

    slots: Mapping[Slot, None]
    stubs: Mapping[Meaning, None]
    originals: tuple[str, ...]

    @classmethod
    def of(cls, names: Names, chosen: Chosen, pairs: tuple[replace.Pair, ...]) -> "Needs":
        """Go through all relocations."""
        slots: dict[Slot, None] = {}
        stubs: dict[Meaning, None] = {}
        originals: dict[str, None] = {}
        for key, section in every_section(chosen):
            for relocation in section.relocations:
                meaning = names.meaning(key.object, relocation.symbol)
                if isinstance(meaning, OriginalOf):
                    originals[meaning.name] = None
                slot = slot_of(relocation, meaning)
                stub = stub_of(relocation, meaning)
                if slot is not None:
                    slots[slot] = None
                if stub is not None:
                    stubs[stub] = None
                    slots[Slot(Content.ADDRESS, stub)] = None
        for name in originals:
            if not any(is_original(p, name) for p in pairs):
                names.problems[f"{ORIGINAL}{name}: {name} is not replaced by this patch"] = None
        return cls(slots, stubs, tuple(originals))


def lay_out(
    chosen: Chosen, needs: Needs, target: Target
) -> tuple[Places, tuple[Region, ...], Unwind | None]:
    """Code, stubs and originals; GOT, constants and unwind table; data."""
    sections, end = place(chosen.regions[Protection.CODE], 0)
    stubs, end = _row(needs.stubs, aligned(end, _ALIGNMENT), lambda _: STUB_SIZE)
    describes = any(s.content is Content.DESCRIPTOR for s in needs.slots)
    descriptor, end = (end, end + STUB_SIZE) if describes else (0, end)
    originals, end = _row(needs.originals, aligned(end, _ALIGNMENT), lambda _: ORIGINAL_ROOM)
    code = _region(Protection.CODE, 0, end)

    got = code.size
    slots, end = _row(needs.slots, got, lambda slot: slot.size)
    constants, end = place(chosen.regions[Protection.CONSTANTS], end)
    start = aligned(end, 8)
    tables, end = place(chosen.unwind, start)
    unwind = Unwind(start, end + _UNWIND_END - start) if tables else None
    end += _UNWIND_END if tables else 0
    read_only = _region(Protection.CONSTANTS, got, end)

    data, end = place(chosen.regions[Protection.DATA], got + read_only.size)
    common, end = _common(chosen, end)
    writable = _region(Protection.DATA, got + read_only.size, end)

    every = {**sections, **constants, **tables, **data}
    memory = bytearray(_INT3 * code.size + bytes(read_only.size + writable.size))
    for key, section in every_section(chosen):
        memory[every[key] : every[key] + len(section.data)] = section.data
    places = Places(
        every, common, originals, slots, stubs, got, descriptor, target.kind,
        target.dynamic is not None and target.dynamic.static_tls,
        target.thread_pointer_offset, memory,
    )  # fmt: skip
    return places, tuple(r for r in (code, read_only, writable) if r.size), unwind


def every_section(chosen: Chosen) -> Iterator[tuple[SectionKey, ObjectSection]]:
    """Of all regions, and the unwind tables."""
    for sections in chosen.regions.values():
        yield from sections
    yield from chosen.unwind


def _row(
    items: Iterable[_Item], start: int, size: Callable[[_Item], int]
) -> tuple[dict[_Item, int], int]:
    """Things one behind the other: each one's offset, and the offset behind the last."""
    found = {}
    for item in items:
        found[item] = start
        start += size(item)
    return found, start


def _common(chosen: Chosen, start: int) -> tuple[dict[str, int], int]:
    found = {}
    for name, (size, alignment) in chosen.common.items():
        start = aligned(start, alignment)
        found[name] = start
        start += size
    return found, start


def _region(protection: Protection, start: int, end: int) -> Region:
    return Region(protection, start, aligned(end - start, PAGE), b"")


def is_original(pair: replace.Pair, name: str) -> bool:
    """Whether the original that a patch calls by this name is that of a pair."""
    return name in (pair.old.symbol.name, pair.by)
