"""The fields that a pair of functions reaches, and which of them lie elsewhere in the new file."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from libswap.survival.accesses import HANDED, Access
from libswap.survival.places import Path

_WIDEST: Final = 64
_PER_OBJECT: Final = 400
_BETWEEN: Final = 2
ADDRESSES: Final = "&"
"""Ends the path of an object of which the addresses of members are meant."""
Field: TypeAlias = tuple[int, int]
"""Offset and width in bytes."""
Fields: TypeAlias = Mapping[Path, set[Field]]


class Move(NamedTuple):
    """A field that a function reaches at another offset."""

    path: Path
    old: int
    new: int
    width: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What a function reaches in one object, where the two files differ.

    Attributes:
        lost: fields that only the old function reaches.
        gained: fields that only the new one reaches.
        stayed: fields that both reach.
    """

    path: Path
    lost: tuple[Field, ...]
    gained: tuple[Field, ...]
    stayed: tuple[Field, ...]

    def moves(self) -> Iterator[Move]:
        """Fields that may be the same one, all by the same distance.

        Offsets below 0 belong to an array that is walked from its end.
        """
        gained = set(self.gained)
        lost = [field for field in self.lost if not self._was_several(field)]
        distances = Counter(
            other - offset
            for offset, width in lost[:_PER_OBJECT]
            for other, same in self.gained[:_PER_OBJECT]
            if same == width and offset >= 0 and other >= 0
        )
        if not distances:
            return
        most = max(distances.values())
        distance = min((d for d, n in distances.items() if n == most), key=lambda d: (abs(d), d))
        for offset, width in lost:
            move = Move(self.path, offset, offset + distance, width)
            possible = (move.new, width) in gained and min(offset, move.new) >= 0
            if possible and not self._passes_others(move):
                yield move

    def _was_several(self, field: Field) -> bool:
        """Whether it was several fields, accessed at once: parts of it that both reach stayed."""
        offset, width = field
        parts = [(o, w) for o, w in self.stayed if offset <= o and o + w <= offset + width]
        return len(parts) > 1 and parts[0][0] == offset and not _overlap(parts)

    def _passes_others(self, move: Move) -> bool:
        """Whether all fields that lie between stayed: one that comes in moves all behind it.

        Fields of its own width do not count: of a row of them each may have the next one's place.
        """
        low, high = sorted((move.old, move.new))
        stayed, lost = (
            [w for offset, w in some if low + move.width <= offset < high and w != move.width]
            for some in (self.stayed, self.lost)
        )
        return len(stayed) >= _BETWEEN and not lost


def _overlap(parts: Sequence[Field]) -> bool:
    return any(o + w > following for (o, w), (following, _) in pairwise(parts))


def narrowed(old: Fields, new: Fields) -> Iterator[Move]:
    """Words of 8 bytes of which the new function reaches the first 4 only: perhaps not the same."""
    for path, ones in old.items():
        others = new.get(path, set())
        starts = {offset for offset, _ in others}
        for offset, width in sorted(ones):
            whole = (offset, 8) in others or (offset, 4) in ones or (offset + 4, 4) in others
            if width == 8 and (offset, 4) in others and not whole and offset + 4 not in starts:
                yield Move(path, offset, offset, 4)


def fields(accesses: Iterable[Access]) -> Fields:
    """By object, for objects that were handed in as an argument.

    Members whose address is handed on are kept apart: what is read there may be of any width.
    """
    found: dict[Path, set[Field]] = defaultdict(set)
    for path, offset, width in accesses:
        if isinstance(path[0], int) and width == HANDED:
            found[*path, ADDRESSES].add((offset, 1))
        elif isinstance(path[0], int) and width <= _WIDEST:
            found[path].add((offset, width or 8))
    return found


def differences(old: Fields, new: Fields) -> Iterator[Difference]:
    """Objects of which not the same bytes are reached; how wide each access is does not count."""
    for path in sorted(old.keys() | new.keys(), key=str):
        ones, others = old.get(path, set()), new.get(path, set())
        if ones != others:
            lost, gained = _outside(ones, others), _outside(others, ones)
            if lost or gained:
                yield Difference(path, lost, gained, tuple(sorted(ones & others)))


def _outside(some: set[Field], others: set[Field]) -> tuple[Field, ...]:
    """The fields whose bytes the others do not cover."""
    covered = {byte for offset, width in others for byte in range(offset, offset + width)}
    return tuple(sorted((o, w) for o, w in some if any(b not in covered for b in range(o, o + w))))
