"""The table of handles in a draining process: which copy made which object, as far as is known.

Open addressing without locks. A slot's first word is a handle and is written once, by a compare
and exchange; its second holds what is known of the object now. A handle that is not there was made
by the old copy and has not been used since. Slots are never freed: addresses come back.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.linux.memory import Memory

BITS: Final = 18
SLOT: Final = 16
SLOTS: Final = 1 << BITS
_TAIL: Final = 4096
"""Further slots, so that a search never has to begin again at the first."""
HEADER: Final = 4096
SIZE: Final = HEADER + (SLOTS + _TAIL) * SLOT
DOUBLES: Final = SIZE
"""Behind the slots: for each of them the old copy's double of its object, or 0."""
ALLOCATED: Final = DOUBLES + (SLOTS + _TAIL) * 8
GOLDEN: Final = 0x9E3779B97F4A7C15
"""Multiplied by this, the upper bits are well mixed (Knuth, TAOCP volume 3, section 6.4)."""

# In the header, 32 bits each
DIRECTION: Final = 0
"""Not 0 while the new copy makes the objects."""
COUNT: Final = 4
"""Slots in use."""
LOST: Final = 8
"""Handles for which there was no room."""
MET: Final = 12
"""How often an object of the old copy was met that was not known."""
MADE: Final = 16
"""How often the new copy made one."""
SETTLED: Final = 20
"""Not 0 when no object of the old copy is left: what is not known is the new one's."""
_HEAD: Final = struct.Struct("<6I")

# What is known of an object: a byte in the slot behind the handle; 32 bits of uses follow.
OLD: Final = 1
NEW: Final = 2
ENDING: Final = 4
GIVEN_BACK: Final = 8
"""The program has no reference of its own, or gave it back; the library may hold the object."""
STATE: Final = 8
USES: Final = 12

MOST_SEEN: Final = SLOTS // 4
"""Slots in use up to which old objects are noted."""
MOST_MADE: Final = SLOTS // 2
"""Slots in use up to which the new copy makes objects; then the old one goes on."""
LAST: Final = HEADER + (SLOTS + _TAIL - 1) * SLOT
"""The last slot stays free, so that every search ends."""


class Entry(NamedTuple):
    """One handle."""

    handle: int
    state: int
    uses: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What the table says at one moment.

    Attributes:
        forward: whether the new copy makes the objects.
        settled: whether none of the old copy's is left.
        lost: handles for which there was no room.
        met: how often an object of the old copy was met that was not known.
        made: how often the new copy made one.
        old: those of the old copy that were used since, and that the program has not given back.
        new: those of the new copy that the program has not given back.
        gone: handles of objects of which none is there any more.
    """

    forward: bool
    settled: bool
    lost: int
    met: int
    made: int
    old: tuple[Entry, ...]
    new: tuple[Entry, ...]
    gone: tuple[Entry, ...]


def contents(memory: Memory, address: int) -> Contents:
    """Read a table.

    Raises:
        MemoryUnreachable: it is not there.
    """
    direction, _, lost, met, made, settled = _HEAD.unpack(memory.read(address, _HEAD.size))
    entries = list(_entries(memory, address))
    return Contents(
        bool(direction), bool(settled), lost, met, made,
        tuple(e for e in entries if e.state & OLD and not e.state & GIVEN_BACK),
        tuple(e for e in entries if e.state & NEW and not e.state & GIVEN_BACK),
        tuple(e for e in entries if not e.state),
    )  # fmt: skip


def slot_of(handle: int) -> int:
    """Offset in the table where the search for a handle begins."""
    mixed = (handle * GOLDEN) & ((1 << 64) - 1)
    return HEADER + (mixed >> (64 - BITS)) * SLOT


def _entries(memory: Memory, address: int) -> Iterator[Entry]:
    """Every slot in use; pages that were never written to read as zero."""
    step = 1 << 18
    for start in range(HEADER, SIZE, step):
        data = memory.read(address + start, min(step, SIZE - start))
        if not any(data):
            continue
        for handle, state, uses in struct.iter_unpack("<QB3xI", data):
            if handle:
                yield Entry(handle, state, uses)
