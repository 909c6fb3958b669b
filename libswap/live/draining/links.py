"""Objects that a structure of the program holds, and that point back to it, found by a search."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.live.reach import MOST_SEARCHED, all_of_it, present
from libswap.live.stacks import Areas
from libswap.live.subject import Subject

_CHUNK: Final = 1 << 20
_BLOCK: Final = 4096
_MOST_BLOCKS: Final = 1 << 14
_MOST_ASKED: Final = 1 << 23


class Link(NamedTuple):
    """How one object and one structure know each other.

    Attributes:
        place: where the object is held.
        back: where it points back from.
        holder: the structure.
    """

    place: int
    back: int
    holder: int


class Words:
    """Single words of a process, read by the block."""

    def __init__(self, memory: Memory) -> None:
        self.asked = 0
        self._memory = memory
        self._blocks: dict[int, bytes] = {}

    def at(self, address: int) -> int:
        """The word there; 0 where none can be read, or it is not aligned."""
        self.asked += 1
        number, offset = divmod(address, _BLOCK)
        if offset % 8:
            return 0
        if number not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            try:
                self._blocks[number] = self._memory.read(number * _BLOCK, _BLOCK)
            except MemoryUnreachable:
                self._blocks[number] = bytes(_BLOCK)
        return int.from_bytes(self._blocks[number][offset : offset + 8], "little")


def links(subject: Subject, pairs: Sequence[tuple[int, int]]) -> tuple[dict[int, Link], bool]:
    """The objects, by handle, and whether all of the memory was searched.

    Args:
        subject: the process, which goes on meanwhile.
        pairs: `linked` of a description: offsets in the structure and in the object.
    """
    found: dict[int, Link] = {}
    if not pairs:
        return found, all_of_it(subject.mappings)
    memory = subject.memory
    writable = Areas([Range(m.start, m.end) for m in subject.mappings if m.writable])
    words = Words(memory)
    left = MOST_SEARCHED
    for part in present(subject.mappings, memory.tid, []):
        for start in range(part.start, part.end, _CHUNK):
            size = min(_CHUNK, part.end - start)
            left -= size
            if left < 0 or words.asked > _MOST_ASKED:
                return found, False
            with suppress(MemoryUnreachable):  # unmapped meanwhile
                for hit in writable.hits(memory.read(start, size), start):
                    for held, back in pairs:
                        link = Link(hit.at, hit.value + back, hit.at - held)
                        if words.at(link.back) == link.holder:
                            found[hit.value] = link
    return found, all_of_it(subject.mappings)
