"""The steps of a function, and how to tell without decoding that other bytes are the same steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.survival.step import NOTHING, RIP, Step

_DISTANCE: Final = 4


class _Distance(NamedTuple):
    """A distance to another place, where it stands in the code.

    Attributes:
        step: its number.
        at: offset of its four bytes; -1 for one that is the same wherever the function lies.
        end: offset of the next instruction, from which it counts.
    """

    step: int
    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """One function.

    Attributes:
        steps: all of them.
        exact: equal where the code is equal but for the addresses in it.
        shape: equal where it also differs in displacements and immediates.
    """

    steps: tuple[Step, ...]
    exact: tuple[int, ...]
    shape: tuple[int, ...]
    _address: int
    _bits: int
    _fixed: int
    _distances: tuple[_Distance, ...]

    @classmethod
    def of(cls, steps: Sequence[Step], code: bytes, address: int) -> "Decoded":
        """Take steps of the code that lies at an address."""
        meant = [s for s in steps if s.kind != NOTHING]
        distances = tuple(_distances(steps, code, address))
        fixed = bytearray(b"\xff" * len(code))
        for one in distances:
            if one.at >= 0:
                fixed[one.at : one.at + _DISTANCE] = bytes(_DISTANCE)
        return cls(
            tuple(steps), tuple([s.exact for s in meant]), tuple([s.shape for s in meant]), address,
            int.from_bytes(code, "little"), int.from_bytes(fixed, "little"), distances,
        )  # fmt: skip

    def moved(self, code: bytes, address: int) -> "Decoded | None":
        """The same function at another address; None if these bytes are another one."""
        bits = int.from_bytes(code, "little")
        if (bits ^ self._bits) & self._fixed:
            return None
        steps = list(self.steps)
        for number, at, end in self._distances:
            step = steps[number]
            if at < 0:
                goal = step.goal + address - self._address
            else:
                distance = int.from_bytes(code[at : at + _DISTANCE], "little", signed=True)
                goal = address + end + distance
            steps[number] = _leading(step, goal)
        return Decoded(
            tuple(steps), self.exact, self.shape, address, bits, self._fixed, self._distances
        )


def _leading(step: Step, place: int) -> Step:
    if step.base == RIP:
        return Step(*step[:8], place, *step[9:])
    return Step(step.kind, step.exact, step.shape, step.length, goal=place)


def _distances(steps: Sequence[Step], code: bytes, address: int) -> Iterator[_Distance]:
    at = 0
    for index, step in enumerate(steps):
        start, at = at, at + step.length
        if step.goal:
            inside = 0 <= step.goal - address < len(code)
            fixed = inside or step.length <= _DISTANCE  # one byte: both lie in the same code
            yield _Distance(index, -1 if fixed else at - _DISTANCE, at)
        elif step.base == RIP:
            distance = (step.offset - address - at & 0xFFFFFFFF).to_bytes(_DISTANCE, "little")
            yield _Distance(index, code.rindex(distance, start, at), at)
