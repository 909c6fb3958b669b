"""The record that a swapped process carries: what was done to it, and how to undo it.

It lies in a private mapping of a memfd called libswap: found by its name in maps, copied to the
children of a fork with the memory that it describes. It has two halves that are written in turn;
the one with the higher number and a right checksum counts, so that being killed while writing
leaves the one before.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Self

from libswap.errors.live import NotSwappable, RecordDamaged
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory
from libswap.live import facts
from libswap.live.draining.record import DrainRecord
from libswap.live.facts import Hex
from libswap.live.patches import PatchRecord, SwitchRecord
from libswap.live.writing import Write
from libswap.process.maps import Mapping

NAME: Final = b"libswap"
MAPPED: Final = b"/memfd:libswap (deleted)"
"""The name of its mapping in maps."""
MAGIC: Final = b"libswap\0"
FORMAT: Final = 2
_HEADER: Final = struct.Struct("<8sII")
_HALF: Final = struct.Struct("<QII")
MOST: Final = 1 << 26
"""Bytes of a mapping."""
_MOST_UNPACKED: Final = 1 << 26
_MOST_VALUES: Final = 1 << 21
"""Each takes some 100 bytes of ours, and two of the record's own."""
_MOST_EXCHANGED: Final = 1 << 28
_MOST_PLACES: Final = 16
"""Mappings of records: a larger one takes the place of one that became too small."""


@dataclass(frozen=True, slots=True)
class GateRecord:
    """One entry that was changed. `entry` is relative to the load base, the others are absolute."""

    entry: int
    original: Hex
    first: int
    stub: int


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """One loaded copy of a library.

    Attributes:
        link: address of its link map, which is also its handle.
        base: load base.
        path: under which it was loaded.
        build_id: of its file.
        area: address of its gates, 0 for none.
        area_size: in bytes.
        gates: its entries that lead to the copy in use, where that is another one.
        word: address of the word that those gates ask, 0 where the area begins with it.
    """

    link: int
    base: int
    path: str
    build_id: str
    area: int = 0
    area_size: int = 0
    gates: tuple[GateRecord, ...] = ()
    word: int = 0

    @property
    def deciding(self) -> int:
        """Address of the word that its gates ask, 0 where it has none."""
        return self.word or self.area


@dataclass(frozen=True, slots=True)
class Family:
    """The copies of one library in one namespace.

    Attributes:
        copies: in the order in which they were loaded.
        current: the index of the one in use.
    """

    copies: tuple[CopyRecord, ...]
    current: int


@dataclass(frozen=True, slots=True)
class Event:
    """One library's part in a swap or in its undoing.

    Attributes:
        id: of the swap, unique in this process and its forks; libraries of one swap share it.
        when: seconds since the epoch.
        what: "swap", "revert" or "drain".
        library: path of the library.
        old: build id before.
        new: build id after.
        old_base: load base of the copy that was in use.
        new_base: load base of the copy that came into use.
        state: "begun", "switched" (all but speed is done), "draining", "done", "abandoned" or
            "reverted".
    """

    id: str
    when: float
    what: str
    library: str
    old: str
    new: str
    old_base: int
    new_base: int
    state: str


@dataclass(frozen=True, slots=True)
class Pending:
    """One library's part in a commit that has begun.

    Attributes:
        family: index in the record.
        source: index of the copy that was in use.
        target: index of the copy that will be.
        fresh: address and bytes in hexadecimal of the target's own data before the exchange.
        places: for each of them the address in the source of what it is exchanged with.
        sizes: of each in bytes; behind those that are given come zeros. Empty in older records.
    """

    family: int
    source: int
    target: int
    fresh: tuple[tuple[int, Hex], ...] = ()
    places: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """Address and bytes of the target's own data before the exchange."""
        sizes = self.sizes or (0,) * len(self.fresh)
        for (at, content), size in zip(self.fresh, sizes, strict=True):
            yield at, bytes.fromhex(content).ljust(size, b"\0")


@dataclass(frozen=True, slots=True)
class Record:
    """Everything."""

    families: tuple[Family, ...] = ()
    events: tuple[Event, ...] = ()
    pending: tuple[Pending, ...] = ()
    patches: tuple[PatchRecord, ...] = ()
    switch: SwitchRecord | None = None
    drains: tuple[DrainRecord, ...] = ()

    def family_of(self, base: int) -> int | None:
        """The index of the family that a module at this load base belongs to."""
        return next(
            (i for i, f in enumerate(self.families) if any(c.base == base for c in f.copies)), None
        )

    def with_family(self, index: int | None, family: Family) -> tuple[Self, int]:
        """The record with a family replaced or added, and its index."""
        if index is None:
            return replace(self, families=(*self.families, family)), len(self.families)
        families = list(self.families)
        families[index] = family
        return replace(self, families=tuple(families)), index

    def drain_of(self, base: int) -> DrainRecord | None:
        """The drain that a module at this load base takes part in."""
        return next((d for d in self.drains if base in (d.source, d.target)), None)

    def with_drain(self, drain: DrainRecord) -> Self:
        """The record with a drain added or replaced."""
        return replace(self, drains=(*self.without_drain(drain).drains, drain))

    def without_drain(self, drain: DrainRecord) -> Self:
        """The record when a drain has come to its end."""
        return replace(self, drains=tuple(d for d in self.drains if d.event != drain.event))

    def with_event(self, event: Event, keep: int = 64) -> Self:
        """The record with an event added or replaced; the oldest are forgotten."""
        others = [e for e in self.events if (e.id, e.library) != (event.id, event.library)]
        return replace(self, events=(*others[-keep:], event))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process keeps its record, and what it says.

    Attributes:
        address: of the mapping.
        size: in bytes.
        number: of the half that counts.
        record: its contents.
    """

    address: int
    size: int
    number: int
    record: Record

    def writes(self, record: Record) -> tuple["Place", Write]:
        """The write that replaces the record, into the half that does not count.

        Raises:
            NotSwappable: it does not fit.
        """
        payload = encode(record)
        half = half_size(self.size)
        if len(payload) + _HALF.size > half:
            raise _too_large()
        number = self.number + 1
        at = self.address + _HEADER.size + (number % 2) * half
        head = _HALF.pack(number, len(payload), _checksum(number, payload))
        return replace(self, number=number, record=record), Write(at, b"", head + payload)


def _too_large() -> NotSwappable:
    return NotSwappable(
        "record-too-large",
        "the process cannot carry a record of all that would be needed to take this back",
        "restart the process",
    )


def _checksum(number: int, payload: bytes) -> int:
    """Of both: a new number alone, in front of an old record, must not make that the latest."""
    return zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "little")))


def half_size(size: int) -> int:
    """Bytes that one half of a mapping has."""
    return (size - _HEADER.size) // 2 & ~7


def size_for(record: Record) -> int:
    """Bytes for a mapping with room to spare."""
    return max(1 << 16, 8 * len(encode(record)) + (1 << 14) & ~0xFFF)


def _exchanged(record: Record) -> int:
    return sum(size for pending in record.pending for size in pending.sizes)


def blank(address: int, size: int) -> tuple[Place, Write]:
    """A new record in a fresh mapping."""
    place = Place(address, size, 0, Record())
    return place, Write(address, b"", _HEADER.pack(MAGIC, FORMAT, size))


def encode(record: Record) -> bytes:
    """As it lies in memory.

    Raises:
        NotSwappable: it is larger than what `decode` reads.
    """
    text = facts.written(record).encode()
    if len(text) > _MOST_UNPACKED or _values(text) > _MOST_VALUES:
        raise _too_large()
    if _exchanged(record) > _MOST_EXCHANGED:
        raise _too_large()
    return zlib.compress(text)


@lru_cache(maxsize=2)
def decode(payload: bytes) -> Record:
    """The inverse of `encode`; one process's record is read several times in a run.

    Raises:
        ValueError: it is something else.
    """
    try:
        text = zlib.decompressobj().decompress(payload, _MOST_UNPACKED)
        if _values(text) > _MOST_VALUES:
            raise ValueError("it has too many values")
        return _coherent(_record(json.loads(text)))
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from None


def _values(text: bytes) -> int:
    return sum(map(text.count, (b",", b"[", b"{")))


def find(memory: Memory, mappings: Sequence[Mapping], pid: int) -> Place | None:
    """The record of a process, None where libswap has never changed it.

    Raises:
        RecordDamaged: there is one that cannot be read.
    """
    found = [m for m in mappings if m.name == MAPPED and not m.executable and m.offset == 0]
    if len(found) > _MOST_PLACES:
        raise RecordDamaged(pid, f"there are {len(found)} of it")
    places = [p for m in found if (p := _read(memory, m, pid)) is not None]
    return max(places, key=lambda p: p.number, default=None)


def _read(memory: Memory, mapping: Mapping, pid: int) -> Place | None:
    try:
        return _whole(memory, mapping, pid)
    except MemoryUnreachable:
        raise RecordDamaged(pid, "it cannot be read") from None


def _whole(memory: Memory, mapping: Mapping, pid: int) -> Place | None:
    magic, version, size = _HEADER.unpack(memory.read(mapping.start, _HEADER.size))
    if not any(magic):
        return None  # we were killed before it became a record
    if magic != MAGIC:
        raise RecordDamaged(pid, "it does not begin as a record does")
    if version != FORMAT:
        raise RecordDamaged(pid, f"it has format {version}; this libswap knows {FORMAT}")
    if not _HEADER.size + 2 * _HALF.size <= size <= min(MOST, mapping.end - mapping.start):
        raise RecordDamaged(pid, f"it claims {size} bytes")
    halves = [h for i in range(2) if (h := _half(memory, mapping.start, size, i)) is not None]
    for number, payload in sorted(halves, reverse=True):
        with suppress(ValueError):
            return Place(mapping.start, size, number, decode(payload))
    if any(_started(memory, mapping.start, size, i) for i in range(2)):
        raise RecordDamaged(pid, "neither half has a right checksum")
    return Place(mapping.start, size, 0, Record())


def _half(memory: Memory, address: int, size: int, index: int) -> tuple[int, bytes] | None:
    at = address + _HEADER.size + index * half_size(size)
    number, length, checksum = _HALF.unpack(memory.read(at, _HALF.size))
    if not number or length > half_size(size) - _HALF.size:
        return None
    payload = memory.read(at + _HALF.size, length)
    return (number, payload) if _checksum(number, payload) == checksum else None


def _started(memory: Memory, address: int, size: int, index: int) -> bool:
    at = address + _HEADER.size + index * half_size(size)
    return any(_HALF.unpack(memory.read(at, _HALF.size)))


def _record(data: Any) -> Record:  # noqa: ANN401  what JSON holds is checked here
    if isinstance(data, dict) and not isinstance(data.get("pending"), list):
        # Records of libswap 0.1 hold one or none.
        data = {**data, "pending": [data["pending"]] if data.get("pending") else []}
    return facts.read(data, Record)


def _coherent(record: Record) -> Record:
    """The record, if every index in it leads somewhere."""
    indexes = [(f.current, f.copies) for f in record.families]
    for pending in record.pending:
        if pending.family not in range(len(record.families)):
            raise ValueError(f"no family {pending.family}")
        if len(pending.sizes) not in (0, len(pending.fresh)):
            raise ValueError("not a size for each piece of data")
        copies = record.families[pending.family].copies
        indexes += [(pending.source, copies), (pending.target, copies)]
    for drain in record.drains:
        if drain.family not in range(len(record.families)):
            raise ValueError(f"no family {drain.family}")
        bases = {c.base for c in record.families[drain.family].copies}
        if not {drain.source, drain.target} <= bases:
            raise ValueError("a drain of copies that are not in its family")
    if _exchanged(record) > _MOST_EXCHANGED:
        raise ValueError("it has exchanged more than any library has")
    for index, copies in indexes:
        if index not in range(len(copies)):
            raise ValueError(f"no copy {index}")
    return record
