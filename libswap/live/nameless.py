"""What two files have in common that no symbol names, as whoever reads their code has found it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libswap.live.library import Library


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of writable data. Virtual addresses in each file's terms.

    Attributes:
        witnesses: instructions and pointers that name it and are the same in both files.
    """

    old: int
    new: int
    size: int
    witnesses: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """Writable bytes of the old file without a proven counterpart.

    Attributes:
        why: in words.
        users: functions of the old file that name them.
    """

    old: int
    size: int
    why: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nameless:
    """All of it.

    Attributes:
        stretches: data that is the same thing in both.
        doubts: data that cannot be carried.
        functions: entry in the old file -> entry in the new one.
        users: functions of the old file that name or reach these stretches.
    """

    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    functions: Mapping[int, int] = field(default_factory=dict)
    users: frozenset[int] = frozenset()


NOTHING = Nameless()
Finder = Callable[["Library", "Library"], Nameless]
"""Reads the code of an old and a new file."""
