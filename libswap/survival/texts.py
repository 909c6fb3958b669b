"""What the functions of a file name: other functions, things of elsewhere, places in the data."""

import re
import struct
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

from libswap.elf.format import SegmentFlags
from libswap.linux.budget import ENDLESS, Budget
from libswap.linux.memory import Range
from libswap.survival.bodies import Bodies, Body, Named
from libswap.survival.code import MAX_FUNCTION, Function
from libswap.survival.step import ADDRESS, Step, made

POINTER: Final = -1
_WORD: Final = 8
_DISTANCE: Final = 4
_RELATIVE: Final = re.compile(rb"(?s)(?=[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4}))")
"""A distance behind the byte that says so (Intel SDM volume 2, table 2-2: mod 0, r/m 5)."""
_BEHIND: Final = (0, 1, 2, 4)
"""Bytes of an immediate behind the distance to a place (Intel SDM volume 2 section 2.2.1.6)."""
_FURTHEST: Final = 1 << 16
"""Bytes of data behind an address that are looked at."""


class Spot(NamedTuple):
    """A place that names something.

    Attributes:
        owner: where the function around it begins; for a pointer in the data, its address.
        step: its index in the function; POINTER for a pointer in the data.
    """

    owner: int
    step: int


@dataclass(frozen=True)
class Texts:
    """The functions of one file, each looked at when it is asked for.

    Attributes:
        budget: how long they are looked at.
    """

    bodies: Bodies
    budget: Budget = ENDLESS
    _known: dict[int, Body] = field(default_factory=dict)
    _named: dict[int, dict[int, Named]] = field(default_factory=dict)

    def of(self, start: int) -> Body:
        """One of them, by its address."""
        found = self._known.get(start)
        if found is None:
            self.budget.check()
            function = self.bodies.code.by_start.get(start) or self.gaps[start]
            found = self._known[start] = self.bodies.of(function)
        return found

    def named(self, start: int) -> dict[int, Named]:
        """What one of them names outside of itself, by the number of the step."""
        found = self._named.get(start)
        if found is None:
            found = self._named[start] = self.bodies.named(self.of(start))
        return found

    def pointed(self, place: int) -> Function | int:
        """What a pointer in the data leads to."""
        to = self.bodies.code.pointers[place]
        return self.bodies.code.by_start.get(to, to)

    def form(self, spot: Spot) -> tuple[int, int]:
        """The step there but for the address, and the bytes that it reads or writes at it."""
        if spot.step <= POINTER:
            return spot.step, 0
        step = self.step(spot)
        return step.exact, step.width

    def step(self, spot: Spot) -> Step:
        """What is done there, but for the address."""
        return self.of(spot.owner).form.by_index[spot.step].step

    @cached_property
    def sites(self) -> dict[int, list[Spot]]:
        """Address -> every place that names it, as far as it is no function's."""
        found: dict[int, list[Spot]] = defaultdict(list)
        code = self.bodies.code
        for function in (*code.functions, *self.gaps.values()):
            form = self.of(function.start).form
            if not form.references and form.read == function.end - function.start:
                continue
            empty = self._empty_tables(function) if function.start in self.gaps else frozenset()
            for index, named in self.named(function.start).items():
                if isinstance(named, int) and index not in empty:
                    found[named].append(made(Spot, (function.start, index)))
            for at, to in self._unread(function):
                found[to].append(Spot(function.start, POINTER - 1 - at))
        for place, to in code.pointers.items():
            if to not in code.by_start:
                found[to].append(Spot(place, POINTER))
        return found

    def _empty_tables(self, function: Function) -> frozenset[int]:
        """Steps that take the begin and the end of a table without entries, as crtbegin's do.

        What lies behind it belongs to somebody else (gcc, crtstuff.c, register_tm_clones).
        """
        body = self.of(function.start)
        places = [
            (one.number, place)
            for one, place in zip(body.form.references, body.places, strict=True)
            if one.step.kind == ADDRESS
        ]
        return frozenset(
            index for (one, place), (other, same) in pairwise(places)
            if place == same and other == one + 1 for index in (one, other)
        )  # fmt: skip

    @cached_property
    def taken(self) -> frozenset[int]:
        """Functions whose address code or data holds: they keep to the calling convention.

        Others may be clones that the compiler made for their callers (gcc(1), -fipa-sra), or parts
        of functions.
        """
        code = self.bodies.code
        found = {to for to in code.pointers.values() if to in code.by_start}
        for function in code.functions:
            by_index = self.of(function.start).form.by_index
            found |= {
                named.start for index, named in self.named(function.start).items()
                if isinstance(named, Function) and by_index[index].step.kind == ADDRESS
            }  # fmt: skip
        return frozenset(found)

    @cached_property
    def gaps(self) -> dict[int, Function]:
        """Code that belongs to no function that is known."""
        code, found, at = self.bodies.code, {}, 0
        for text in sorted(code.texts):
            at = max(at, text.start)  # what overlaps is looked at once
            inside = [(f.start, f.end) for f in code.within(at, text.end)]
            for start, after in [*inside, (text.end, text.end)]:
                for piece in range(at, start, MAX_FUNCTION):
                    stop = min(piece + MAX_FUNCTION, start)
                    found[piece] = Function(piece, stop, "", exported=False)
                at = max(at, after)
        return found

    def _unread(self, function: Function) -> Iterator[tuple[int, int]]:
        """Offsets in bytes that are no instructions, and all data that they may name."""
        read = self.of(function.start).form.read
        if read >= function.end - function.start:
            return
        data = self.bodies.code.text(function)
        for match in _RELATIVE.finditer(data, max(read - 1, 0)):
            at = match.start(1)
            (distance,) = struct.unpack("<i", match[1])
            for behind in _BEHIND:
                to = function.start + at + _DISTANCE + behind + distance
                if self.bodies.code.is_changeable(to):
                    yield at, to

    @cached_property
    def edges(self) -> list[int]:
        """Every address that something names, ascending."""
        return sorted(self.sites)

    def reach(self, at: int) -> int:
        """Bytes from an address in the data to the next one that something names."""
        segment = next((s for s in self._data if s.start <= at < s.end), None)
        if segment is None:
            return 0
        edges = self.edges
        index = bisect_right(edges, at)
        end = min(segment.end, at + _FURTHEST)
        return (min(edges[index], end) if index < len(edges) else end) - at

    @cached_property
    def _data(self) -> tuple[Range, ...]:
        return tuple(
            Range(s.vaddr, s.vaddr + s.memsz) for s in self.bodies.code.image.loads
            if not s.flags & SegmentFlags.X
        )  # fmt: skip

    def is_word(self, at: int) -> bool:
        """Whether instructions read or write eight bytes at an address."""
        return any(self.form(spot)[1] == _WORD for spot in self.sites.get(at, ()))

    def pointers(self, at: int, size: int) -> tuple[int, ...]:
        """Offsets of pointers into the file itself."""
        places = self._places
        first = bisect_left(places, at)
        last = bisect_left(places, at + size, first)
        return tuple([place - at for place in places[first:last]])

    def contents(self, at: int, size: int) -> tuple[bytes, tuple[tuple[int, str], ...]]:
        """What the file has there without the words that the dynamic linker fills in, and those."""
        code = self.bodies.code
        data = bytearray(size)
        for segment in code.image.loads:
            start = max(at, segment.vaddr)
            end = min(at + size, segment.vaddr + segment.filesz)
            if start < end:
                data[start - at : end - at] = code.image.at_vaddr(start, end - start, "data")
        kinds = []
        first = bisect_left(self._filled, at - _WORD + 1)
        for place in self._filled[first : bisect_left(self._filled, at + size)]:
            begin, end = max(place - at, 0), min(place - at + _WORD, size)
            data[begin:end] = bytes(end - begin)
            to = code.pointers.get(place)
            name = code.slots.get(place, "")
            kind = name if to is None else ("function" if to in code.by_start else "data")
            kinds.append((place - at, kind))
        return bytes(data), tuple(kinds)

    @cached_property
    def _places(self) -> list[int]:
        return sorted(self.bodies.code.pointers)

    @cached_property
    def _filled(self) -> list[int]:
        return sorted({r.offset for r in self.bodies.code.relocations})
