"""The code of functions without the places that it names.

Two builds of a library are the same code for the most part, but for the distances to other places.
What such code does is looked at once, and only where somebody asks.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from libswap.survival.step import COMPARE, NOTHING, Reference, Step, made
from libswap.survival.steps import Steps, target

_HEAD: Final = 8
_MOST_ALIKE: Final = 8
_DISTANCE: Final = struct.Struct("<i").unpack_from
_SHORT: Final = struct.Struct("<b").unpack_from
_WIDE: Final = 4
"""Bytes of a distance but for that of a short jump."""
_ANY: Final = bytes(_WIDE)


class Form:
    """The code of a function without the places that it names; equal code has one form.

    Attributes:
        references: instructions that name them.
        read: bytes that are instructions, from the beginning.
        count: steps that do something.
    """

    def __init__(self, code: bytes, decoder: Steps) -> None:
        """Take the code of a function."""
        self._skimmed = decoder.skim(code)
        self.references = self._skimmed.references
        self.count = self._skimmed.doing
        self.read = self._skimmed.read
        self._code = code
        self._decoder = decoder
        fixed = bytearray(b"\xff" * len(code))
        for one in self.references:
            if one.at >= 0:
                fixed[one.at : one.at + _WIDE] = _ANY
        self._near = tuple([n for n, one in enumerate(self.references) if one.near])
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
            for _, at, end, _, _ in self.references
        ])  # fmt: skip
        for n in self._near:
            if 0 <= found[n] < size:
                return None
        return found

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
    def kinds(self) -> frozenset[int]:
        """The kinds of its steps."""
        return frozenset([step.kind for step in self._decoded])

    @cached_property
    def compares(self) -> bool:
        """Whether it compares something that is no number."""
        return any(step.kind == COMPARE and step.constant is None for step in self._decoded)

    @cached_property
    def outline(self) -> object:
        """Equal where `exact` is; found without decoding all."""
        return self.count, tuple([one.step.exact for one in self.references])

    @cached_property
    def inner(self) -> tuple[int, ...]:
        """Where its branches within itself lead, relative to where it begins."""
        return tuple([goal for _, _, reference, goal in self._moving if reference < 0])

    def is_like(self, other: "Form") -> bool:
        """Whether it is the same instructions with the same branches; padding does not count."""
        if self is other:
            return True
        same = self.outline == other.outline and self.exact == other.exact
        return same and self.inner == other.inner

    @cached_property
    def _decoded(self) -> tuple[Step, ...]:
        """Its steps, but for the places that they name."""
        return self._decoder.of(self._code, self._skimmed)

    @cached_property
    def _moving(self) -> tuple[tuple[int, Step, int, int], ...]:
        """Those with a place: their index, the step, and what place it is.

        That is the number of a reference, else -1 and the offset that a branch leads to.
        """
        return tuple(self._those_that_move())

    def _those_that_move(self) -> Iterator[tuple[int, Step, int, int]]:
        by_end = {one.end: number for number, one in enumerate(self.references)}
        at = 0
        for number, step in enumerate(self._decoded):
            at += step.length
            if at in by_end:
                yield number, step, by_end[at], 0
            elif step.goal:
                yield number, step, -1, target(self._code, at, step.length)

    def steps(self, address: int, places: Sequence[int]) -> tuple[Step, ...]:
        """The steps of code of this form that lies at an address and names these places."""
        steps = list(self._decoded)
        for number, step, reference, goal in self._moving:
            place = address + (places[reference] if reference >= 0 else goal)
            if step.goal:
                steps[number] = made(Step, (*step[:11], place, 0))
            else:
                steps[number] = made(Step, (*step[:8], place, *step[9:]))
        return tuple(steps)


class Forms:
    """Finds the forms of code; shared by two files, so that what is equal in both has one form."""

    def __init__(self, decoder: Steps) -> None:
        self._decoder = decoder
        self._alike: dict[tuple[int, bytes], list[Form]] = {}
        self._known: dict[object, Form] = {}

    def of(self, code: bytes) -> tuple[Form, tuple[int, ...]]:
        """The form of some code, and the places that it names, relative to where it begins."""
        alike = self._alike.setdefault((len(code), code[:_HEAD]), [])
        for form in alike:
            places = form.places(code)
            if places is not None:
                return form, places
        form = Form(code, self._decoder)
        known = self._known.setdefault(form.key, form)
        if known is form and len(alike) < _MOST_ALIKE:
            alike.append(form)
        places = known.places(code)
        assert places is not None  # noqa: S101  it is this code's own form
        return known, places
