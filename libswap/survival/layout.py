"""Writable data without names: which bytes of the old file are which of the new one.

The instructions and pointers that name an address say what it is. A stretch from one named address
to the next is taken for the same in both files only if both ends agree, or if instructions that are
the same in both read or write those very bytes. In doubt it is not.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from libswap.elf.nameless import Doubt, Stretch
from libswap.linux.memory import Range
from libswap.survival.comparison import label
from libswap.survival.reached import Reached
from libswap.survival.roles import Roles
from libswap.survival.step import ADDRESS, CALL_AT, COMPARE, JUMP_AT, LOAD, STORE
from libswap.survival.texts import POINTER, Spot, Texts

_WORD: Final = 8
_READING: Final = frozenset({LOAD, COMPARE, ADDRESS, CALL_AT, JUMP_AT})
"""What an instruction does that names data, and never writes to it."""
_LARGEST: Final = 1 << 26
"""Bytes of one stretch; no library has a variable of that size."""


@dataclass(frozen=True)
class Side:
    """One file: what names its writable data."""

    texts: Texts
    places: tuple[Range, ...]

    @cached_property
    def edges(self) -> list[int]:
        """The named addresses."""
        return [at for at in self.texts.edges if self.holding(at) is not None]

    def holding(self, at: int) -> Range | None:
        """The piece of the data that an address lies in."""
        index = bisect_right(self.places, at, key=lambda place: place.start) - 1
        return self.places[index] if index >= 0 and at in self.places[index] else None

    def object_start(self, at: int) -> int:
        """The lowest address at which a variable can begin that reaches to another address.

        None lies partly in what the file has and partly in what begins as zeros behind it.
        """
        place = self.holding(at)
        ends = (s.vaddr + s.filesz for s in self.texts.bodies.code.image.loads)
        return max([*(e for e in ends if e <= at), place.start if place is not None else at])

    def after(self, at: int, edges: Sequence[int]) -> int:
        """The next of some addresses, or where the piece of data ends."""
        place = self.holding(at)
        assert place is not None  # noqa: S101  the caller asks for what lies in one
        index = bisect_right(edges, at)
        return min(edges[index], place.end) if index < len(edges) else place.end

    @cached_property
    def toolchain(self) -> frozenset[int]:
        """What crtbegin puts into every library: a word that points to itself, and a flag.

        Their extents are known, and each copy keeps its own.
        """
        pointers = self.texts.bodies.code.pointers
        return frozenset(
            at for at in self.edges
            if pointers.get(at) == at or (self.widths(at) == {1} and self._is_flag(at))
        )  # fmt: skip

    def _is_flag(self, at: int) -> bool:
        """Whether only code that has no place in the unwind tables, as crtbegin's, names it."""
        by_start = self.texts.bodies.code.by_start
        return all(s.owner not in by_start and s.step >= 0 for s in self.texts.sites[at])

    def widths(self, at: int) -> frozenset[int]:
        """How many bytes instructions read or write there; 0 where the address is taken."""
        return frozenset(self.texts.form(spot)[1] for spot in self.texts.sites.get(at, ()))


@dataclass
class Layout:
    """The writable data of two files.

    Attributes:
        roles: of their functions and of all addresses.
        old, new: the data that no symbol names.
    """

    roles: Roles
    old: Side
    new: Side

    @cached_property
    def pairs(self) -> dict[int, int]:
        """Addresses that are the same thing, those without doubt."""
        found = {a: b for a, b in self._named.items() if not self._unlike(a, b)}
        return {**found, **self._between(found)}

    @cached_property
    def _named(self) -> dict[int, int]:
        data = self.roles.data
        return {
            a: data[a] for a in self.old.edges
            if a in data and self.new.holding(data[a]) is not None
        }  # fmt: skip

    def _unlike(self, a: int, b: int) -> str:
        """What speaks against two addresses being one thing, in words; "" for nothing."""
        if self.old.widths(a) != self.new.widths(b):
            return "it is read or written in other widths"
        mine, its = self._open(self.old, a, self._from), self._open(self.new, b, self._to)
        if POINTER in mine or POINTER in its:
            return "functions or pointers that have no counterpart name it"
        if mine != its:
            return "functions that changed name it otherwise"
        if 0 in self.old.widths(a) and self._reached_otherwise(a, b):
            return "code that has its address reaches other bytes behind it"
        return ""

    @cached_property
    def _from(self) -> dict[Spot, Spot]:
        return self.roles.aligned

    @cached_property
    def _to(self) -> dict[Spot, Spot]:
        return {there: at for at, there in self.roles.aligned.items()}

    def _open(
        self, side: Side, at: int, aligned: Mapping[Spot, Spot]
    ) -> dict[int, frozenset[tuple[int, int]]]:
        """The instructions that name an address and have no counterpart, by function.

        Functions are told by their address in the old file; -1 stands for all that have none there.
        """
        found: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for spot in side.texts.sites.get(at, ()):
            if spot not in aligned:
                form = side.texts.form(spot)
                found[self._function(side, spot)].add(form)
        return {f: frozenset(forms) for f, forms in found.items()}

    def _function(self, side: Side, spot: Spot) -> int:
        if spot.step == POINTER:
            return POINTER
        if side is self.old:
            return spot.owner if spot.owner in self.roles.functions else POINTER
        return self.roles.back.get(spot.owner, POINTER)

    def _reached_otherwise(self, a: int, b: int) -> bool:
        """Whether the code of the files takes what lies behind two addresses for different things.

        As far as the next address that a symbol or an instruction names in both.
        """
        size = min(self.old.after(a, self._ends[0]) - a, self.new.after(b, self._ends[1]) - b)
        return self._reached[0].within(a, size) != self._reached[1].within(b, size)

    @cached_property
    def _reached(self) -> tuple[Reached, Reached]:
        return (
            Reached(self.old.texts, frozenset(self.old.edges)),
            Reached(self.new.texts, frozenset(self.new.edges)),
        )

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """The addresses that are named in both files."""
        return sorted(self._named), sorted(self._named.values())

    def _between(self, known: Mapping[int, int]) -> dict[int, int]:
        """Addresses between two that are known, at the same distance, named by the same functions.

        All that names them stands in functions that changed, which name nothing else there.
        """
        found = {}
        ordered = sorted(known)
        for a in self.old.edges:
            index = bisect_left(ordered, a)
            if a in known or a in self._named or not 0 < index < len(ordered):
                continue
            before, after = ordered[index - 1], ordered[index]
            b = a + known[before] - before
            if known[after] - after != b - a or b in self.new_known:
                continue
            if (
                b in self._new_edges
                and self._open(self.old, a, self._from)
                and not self._unlike(a, b)
            ):
                found[a] = b
        return found

    @cached_property
    def _new_edges(self) -> frozenset[int]:
        return frozenset(self.new.edges)

    @cached_property
    def new_known(self) -> frozenset[int]:
        """Addresses of the new file that have a counterpart, in doubt or not."""
        return frozenset(self._named.values())

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """What can be carried, by ascending address."""
        found = []
        unsure = self._unsure
        for a, b in sorted(self.pairs.items()):
            self.old.texts.budget.check()
            if a in unsure:
                continue
            size = self._extent(a, b) or self._width(a, b)
            size = min(size, self._room(a, b))
            if 0 < size <= _LARGEST and self._same_first(a, b, size):
                found.append(Stretch(a, b, size, self._witnesses(a)))
        return tuple(found)

    def _room(self, a: int, b: int) -> int:
        """Bytes before the next address that either file names.

        What one version put behind a variable may lie in what is padding in the other.
        """
        return min(
            self.old.after(a, self.old.edges) - a, self.new.after(b, self.new.edges) - b
        )  # fmt: skip

    def _extent(self, a: int, b: int) -> int:
        """Bytes from one address to the next that both files agree on; 0 where they do not."""
        by_known = (
            self.old.after(a, self._ordered) - a, self.new.after(b, self._ordered_new) - b,
        )  # fmt: skip
        by_all = self.old.after(a, self.old.edges) - a, self.new.after(b, self.new.edges) - b
        for mine, its in (by_known, by_all):
            if mine == its:
                return mine
        return 0

    def _width(self, a: int, b: int) -> int:
        """The bytes that instructions themselves read or write there, 0 for none."""
        width = max(self.old.widths(a))
        mine, its = self.old.holding(a), self.new.holding(b)
        if mine is None or its is None or a + width > mine.end or b + width > its.end:
            return 0
        inside = [x for x in _within(self.old.edges, a, width) if self.pairs.get(x) != x + b - a]
        others = {self.pairs.get(x) for x in _within(self.old.edges, a, width)}
        strange = [x for x in _within(self.new.edges, b, width) if x not in others]
        return 0 if inside or strange else width

    @cached_property
    def _ordered(self) -> list[int]:
        return sorted(self.pairs)

    @cached_property
    def _ordered_new(self) -> list[int]:
        return sorted(self.pairs.values())

    @cached_property
    def _unsure(self) -> frozenset[int]:
        """Addresses that may lie inside of another thing, whose extent is not known.

        A loop may begin before the first element of an array or end behind its last: the address
        that it computes then lies in a neighbour. So behind a thing of unknown extent an address
        that is only computed counts only where everything around is at the same distance.
        """
        back = {b: a for a, b in self.pairs.items()}
        mine = self._unsure_in(self.old, self.pairs)
        its = self._unsure_in(self.new, back)
        return mine | {back[b] for b in its}

    def _unsure_in(self, side: Side, pairs: Mapping[int, int]) -> frozenset[int]:
        found = set()
        distance, safe = None, True
        for at in side.edges:
            other = pairs.get(at)
            if other is None:
                safe = safe and at in side.toolchain
                continue
            moved = other - at != distance
            if moved and not safe and side.widths(at) <= {0}:
                found.add(at)
                continue
            a, b = (at, other) if side is self.old else (other, at)
            safe = bool(self._extent(a, b) or self._width(a, b))
            distance = other - at
        return frozenset(found)

    def _same_first(self, a: int, b: int, size: int) -> bool:
        """Whether both files begin with the same value; pointers may lead elsewhere."""
        return self.old.texts.contents(a, size) == self.new.texts.contents(b, size)

    def _witnesses(self, a: int) -> int:
        return sum(spot in self._from for spot in self.old.texts.sites[a])

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """What cannot be carried, by ascending address."""
        return tuple(self._doubts())

    @cached_property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """Address and size of what is chosen anew in each copy."""
        found = ((at, self.old.after(at, self.old.edges) - at) for at in self.old.edges)
        return tuple((at, size) for at, size in found if self._is_choice(at, size))

    def _doubts(self) -> Iterator[Doubt]:
        covered = {s.old: s.size for s in self.stretches}
        chosen = dict(self.choices)
        for place in self.old.places:
            edges = _within(self.old.edges, place.start, place.size)
            for at in sorted({place.start, *edges} - self.old.toolchain):
                self.old.texts.budget.check()
                end = self.old.after(at, self.old.edges)
                start = at + covered.get(at, 0)
                if start < end and at not in chosen:
                    yield Doubt(
                        start, end - start, self._why(at, start), self._users(at),
                        written=self._is_written(at, end - at),
                    )  # fmt: skip

    def _is_written(self, at: int, size: int) -> bool:
        texts = self.old.texts
        kinds = {texts.step(s).kind for s in texts.sites.get(at, ()) if s.step > POINTER}
        if size > _LARGEST or not kinds <= _READING:
            return True
        data, filled = texts.contents(at, size)
        return not (filled or any(data))

    def _is_choice(self, at: int, size: int) -> bool:
        """Whether it is a pointer to a function that constructors choose, and nothing but calls.

        Each copy of the library chooses for itself when it is loaded. What a loop or a pointer
        could reach otherwise, because an address before it is taken, is none.
        """
        texts = self.old.texts
        spots = texts.sites.get(at, ())
        if size != _WORD or any(spot.step <= POINTER for spot in spots):
            return False
        kinds = {(texts.step(s).kind, s.owner in texts.bodies.code.constructors) for s in spots}
        start = self.old.object_start(at)
        before = [e for e in self.old.edges if start <= e < at]
        taken = any(0 in self.old.widths(e) for e in before if e not in self.old.toolchain)
        calls = {kind for kind, constructs in kinds if not (kind == STORE and constructs)}
        return bool(calls) and calls <= {CALL_AT, JUMP_AT} and not taken

    def _why(self, at: int, start: int) -> str:
        if at not in self.old.texts.sites:
            return "nothing names it"
        if at in self.pairs:
            if at in self._unsure or not self._extent(at, self.pairs[at]):
                return "its extent is not known"
            carried = start > at
            return "the new file has another thing there" if carried else (
                "it begins with another value")  # fmt: skip
        if at in self._named:
            return self._unlike(at, self._named[at])
        if at in self.roles.disputed[0]:
            return "functions take it for different things"
        return "no function that is the same in both names it"

    def _users(self, at: int) -> tuple[str, ...]:
        by_start = self.old.texts.bodies.code.by_start
        found = {s.owner for s in self.old.texts.sites.get(at, ()) if s.step != POINTER}
        return tuple(
            label(by_start[start]) if start in by_start else f"code at {start:#x}"
            for start in sorted(found)
        )

    @property
    def users(self) -> frozenset[int]:
        """Functions of the old file that name or reach what can be carried."""
        found = {
            spot.owner for s in self.stretches
            for spot in self.old.texts.sites[s.old] if spot.step != POINTER
        }  # fmt: skip
        return frozenset(found) | {
            function for function, touches in self._reached[0].by_function.items()
            if any(self._carries(t.address) for t in touches)
        }  # fmt: skip

    def _carries(self, address: int) -> bool:
        index = bisect_right(self.stretches, address, key=lambda s: s.old) - 1
        return index >= 0 and address < self.stretches[index].old + self.stretches[index].size


def _within(edges: Sequence[int], at: int, size: int) -> Sequence[int]:
    """Those behind an address, up to a distance."""
    return edges[bisect_right(edges, at) : bisect_left(edges, at + size)]
