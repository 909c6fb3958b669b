"""The code of functions without the places that it names.

Two builds of a library are the same code for the most part, but for the distances to other places.
What such code does is looked at once, and only where somebody asks.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from libswap.survival.step import NOTHING, RIP, Reference, Step
from libswap.survival.steps import Steps

_HEAD: Final = 8
_MOST_ALIKE: Final = 8
_DISTANCE: Final = struct.Struct("<i").unpack_from
_SHORT: Final = struct.Struct("<b").unpack_from
_WIDE: Final = 4
"""Bytes of a distance but for that of a short jump."""


class Form:
    """The code of a function without the places that it names; equal code has one form.

    Attributes:
        references: instructions that name them.
        read: bytes that are instructions, from the beginning.
        count: steps that do something.
    """

    def __init__(self, code: bytes, origin: int, decoder: Steps) -> None:
        """Take the code of a function that lies at an address."""
        references, self.read, self.count = decoder.references(code)
        self.references = tuple(references)
        self._code = code
        self._origin = origin
        self._decoder = decoder
        fixed = bytearray(b"\xff" * len(code))
        for one in references:
            if one.at >= 0:
                fixed[one.at : one.at + _WIDE] = bytes(_WIDE)
        self._near = tuple([n for n, one in enumerate(references) if one.near])
        self._fixed = int.from_bytes(fixed, "little")
        self._bits = int.from_bytes(code, "little") & self._fixed

    @property
    def key(self) -> object:
        """Equal for equal forms."""
        return len(self._code), self._bits, self._fixed

    def places(self, code: bytes) -> tuple[int, ...] | None:
        """What code of this form names, relative to where it begins; None for other code."""
        if int.from_bytes(code, "little") & self._fixed != self._bits:
            return None
        size = len(code)
        found = tuple([
            end + (_DISTANCE(code, at) if at >= 0 else _SHORT(code, end - 1))[0]
            for _, at, end, _ in self.references
        ])  # fmt: skip
        return None if any(0 <= found[n] < size for n in self._near) else found

    @cached_property
    def by_index(self) -> dict[int, Reference]:
        """References by the number of the step."""
        return {one.number: one for one in self.references}

    @cached_property
    def exact(self) -> tuple[int, ...]:
        """Equal where the code is equal but for the addresses in it and the width of jumps."""
        return tuple([s.exact for s in self._decoded if s.kind != NOTHING])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Equal where it also differs in displacements and immediates."""
        return tuple([s.shape for s in self._decoded if s.kind != NOTHING])

    @cached_property
    def outline(self) -> object:
        """Equal where `exact` is; found without decoding all."""
        return self.count, tuple([one.step.exact for one in self.references])

    @cached_property
    def inner(self) -> tuple[int, ...]:
        """Where its branches within itself lead, relative to where it begins."""
        return tuple([
            step.goal - self._origin for _, step, reference in self._moving
            if step.goal and reference < 0
        ])  # fmt: skip

    def is_like(self, other: "Form") -> bool:
        """Whether it is the same instructions with the same branches; padding does not count."""
        if self is other:
            return True
        same = self.outline == other.outline and self.exact == other.exact
        return same and self.inner == other.inner

    @cached_property
    def _decoded(self) -> tuple[Step, ...]:
        return self._decoder.of(self._code, self._origin)

    @cached_property
    def _moving(self) -> tuple[tuple[int, Step, int], ...]:
        """(number of the step, the step, the number of its reference or -1): those with a place."""
        return tuple(self._those_that_move())

    def _those_that_move(self) -> Iterator[tuple[int, Step, int]]:
        by_index = {one.number: number for number, one in enumerate(self.references)}
        index = 0
        for number, step in enumerate(self._decoded):
            if step.goal or step.base == RIP:
                yield number, step, by_index.get(index, -1) if step.kind != NOTHING else -1
            index += step.kind != NOTHING

    def steps(self, address: int, places: Sequence[int]) -> tuple[Step, ...]:
        """The steps of code of this form that lies at an address and names these places."""
        steps = list(self._decoded)
        for number, step, reference in self._moving:
            if reference >= 0:
                steps[number] = _leading(step, address + places[reference])
            elif step.goal:
                steps[number] = _leading(step, step.goal + address - self._origin)
        return tuple(steps)


def _leading(step: Step, place: int) -> Step:
    if step.base == RIP:
        return Step(*step[:8], place, *step[9:])
    return Step(step.kind, step.exact, step.shape, step.length, goal=place)


class Forms:
    """Finds the forms of code; shared by two files, so that what is equal in both has one form."""

    def __init__(self, decoder: Steps) -> None:
        self._decoder = decoder
        self._alike: dict[tuple[int, bytes], list[Form]] = {}
        self._known: dict[object, Form] = {}

    def of(self, code: bytes, address: int) -> tuple[Form, tuple[int, ...]]:
        """The form of the code that lies at an address, and the places that it names from there."""
        alike = self._alike.setdefault((len(code), code[:_HEAD]), [])
        for form in alike:
            places = form.places(code)
            if places is not None:
                return form, places
        form = Form(code, address, self._decoder)
        known = self._known.setdefault(form.key, form)
        if known is form and len(alike) < _MOST_ALIKE:
            alike.append(form)
        places = known.places(code)
        assert places is not None  # noqa: S101  it is this code's own form
        return known, places
