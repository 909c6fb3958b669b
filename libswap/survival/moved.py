"""Fields that functions reach elsewhere in the new file, or there alone, and how many say so."""

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from libswap.survival.accesses import Access
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code, Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.fields import ADDRESSES, Difference, Field, Move
from libswap.survival.places import Path
from libswap.survival.step import ADDRESS, NONE, RIP, RSP

_SHOWN: Final = 8
_AGREE: Final = 2
"""Functions that must do the same before it is no accident."""
_SIMPLE: Final = (4, 8)
"""Bytes of a field that is no part of an array."""
_SMALL: Final = 128
"""Offsets below it take one byte of an instruction, which stands everywhere."""
_WIDEST: Final = 64
"""Bytes that one instruction reads or writes at most."""
_FEW: Final = 2
"""New fields; more of them are elements that code reaches one by one where it had a loop."""


@dataclass(slots=True)
class Moved:
    """What the functions of two files say of it.

    Attributes:
        moves: by the names of functions.
        below: functions that are the same code, and only call what is not.
        gains: fields that only the new file reaches, with the objects by the names of functions.
        guesses: moves in functions that are paired by who calls them, by old and new offset.
    """

    moves: dict[Move, list[str]] = field(default_factory=lambda: defaultdict(list))
    below: set[str] = field(default_factory=set)
    gains: dict[Field, dict[str, Path]] = field(default_factory=lambda: defaultdict(dict))
    guesses: dict[tuple[int, int, int], dict[str, Move]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def note(self, name: str, difference: Difference, *, below: bool = False) -> None:
        """Take up what a function does otherwise with an object."""
        moves = list(difference.moves())
        whole = len(difference.lost) + len(difference.gained)
        if below:
            self.below.add(name)
        if 2 * len(moves) * 2 >= whole:
            for move in moves:
                self.moves[move].append(name)
        moved = {(m.new, m.width) for m in moves}
        if difference.path[-1] != ADDRESSES:
            for gained in difference.gained:
                if gained not in moved:
                    self.gains[gained][name] = difference.path

    def guess(self, name: str, difference: Difference) -> None:
        """Likewise for a function without a name, whose counterpart may be another one."""
        for move in difference.moves():
            self.guesses[move.old, move.new, move.width][name] = move

    def evidence(self, old: Bodies) -> Iterator[Evidence]:
        """All of it; `old` is the old file."""
        yield from self._certain()
        yield from self._guessed()
        yield from self._new(old)

    def _certain(self) -> Iterator[Evidence]:
        """Moves that several functions agree on, or that are all that a function does."""
        by_function: dict[str, list[Move]] = defaultdict(list)
        for move, names in self.moves.items():
            for name in names:
                by_function[name].append(move)
        for name, moves in sorted(by_function.items()):
            agreed = [m for m in moves if len(self._agree(m)) > 1]
            weight = Weight.DANGER if agreed or len(moves) > 1 else Weight.DOUBT
            if weight is Weight.DANGER or name not in self.below:
                yield _evidence(weight, name, (agreed or moves)[:_SHOWN])

    def _agree(self, move: Move) -> set[str]:
        return {
            name for other, names in self.moves.items() for name in names
            if (other.old, other.new, other.width) == (move.old, move.new, move.width)
        }  # fmt: skip

    def _guessed(self) -> Iterator[Evidence]:
        """What comes into a structure moves what lies behind it up."""
        for (before, after, _), by_name in sorted(self.guesses.items()):
            if len(by_name) >= _AGREE and 0 < before < after:
                for name, move in sorted(by_name.items()):
                    yield _evidence(Weight.DOUBT, name, [move])

    def _new(self, old: Bodies) -> Iterator[Evidence]:
        """Fields that functions reach at offsets that nothing in the old file names."""
        new = [
            (at, reached) for at, reached in sorted(self.gains.items())
            if len(reached) >= _AGREE and _is_simple(at)
        ]  # fmt: skip
        for (offset, width), reached in new if len(new) <= _FEW else ():
            for name, path in sorted(reached.items())[:_SHOWN] if not _reaches(old, offset) else ():
                there = place(Access(path, offset, width))
                yield Evidence("field-new", Weight.DOUBT, name, "nothing", there)


def _is_simple(one: Field) -> bool:
    offset, width = one
    return offset >= _SMALL and width in _SIMPLE and offset % width == 0


def _reaches(old: Bodies, offset: int) -> bool:
    """Whether an instruction may reach this byte of any object, by itself or with others before.

    Or by the address of a member that begins there or before: how large that is nothing tells.
    """
    if any(struct.pack("<i", offset) in text for text in old.code.texts.values()):
        return True
    steps = (
        step for function in _naming(old.code, range(offset - _WIDEST, offset))
        for step in old.of(function).steps if step.base not in (NONE, RIP, RSP)
    )  # fmt: skip
    return any(
        step.offset <= offset < step.offset + (_WIDEST if step.kind == ADDRESS else step.width)
        for step in steps
    )


def _naming(code: Code, offsets: Iterable[int]) -> set[Function]:
    """Functions that hold one of these numbers, as a displacement perhaps."""
    numbers = b"|".join(re.escape(struct.pack("<i", offset)) for offset in offsets)
    found = (
        code.holding(place.start + match.start())
        for place, text in code.texts.items()
        for match in re.finditer(numbers, text, re.DOTALL)
    )
    return {function for function in found if function is not None}


def _evidence(weight: Weight, name: str, moves: list[Move]) -> Evidence:
    return Evidence(
        "field-moved", weight, name,
        ", ".join(place(Access(m.path, m.old, m.width)) for m in moves),
        ", ".join(place(Access(m.path, m.new, m.width)) for m in moves),
    )  # fmt: skip


def place(access: Access) -> str:
    """A field in words: argument 0 → 56 → 188, 4 bytes."""
    root, *loads = access.path
    start = f"argument {root}" if isinstance(root, int) else f"result of {root}"
    if loads[-1:] == [ADDRESSES]:
        return f"{' → '.join([start, *map(str, loads[:-1])])} → the address of {access.offset}"
    return f"{' → '.join([start, *map(str, loads), str(access.offset)])} ({access.width} bytes)"
