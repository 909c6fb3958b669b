"""What is asked for: a library of a process, and what is to take its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from libswap.live.library import Library
from libswap.live.module import Module


@dataclass(frozen=True, slots=True)
class Move:
    """One library of a swap.

    Attributes:
        source: the copy in use.
        library: facts of the copy to be used.
        path: of the new file as the process sees it.
        loaded: the copy to be used, where the process has it already.
        hand_over: whether the process cannot see the file and gets its bytes.
    """

    source: Module
    library: Library
    path: str
    loaded: Module | None = None
    hand_over: bool = False

    @property
    def soname(self) -> str:
        """By which name others need it."""
        return self.library.dynamic.soname or self.path.rpartition("/")[2]


def in_order(moves: Sequence[Move]) -> tuple[Move, ...]:
    """Libraries after those among them that they need (DT_NEEDED), else as they were given."""
    by_soname = {m.soname: i for i, m in enumerate(moves)}
    graph = {
        i: [by_soname[n] for n in m.library.dynamic.needed if n in by_soname]
        for i, m in enumerate(moves)
    }
    try:
        return tuple(moves[i] for i in TopologicalSorter(graph).static_order())
    except CycleError:
        return tuple(moves)
