"""The two copies of a library that take part in a drain, and how their addresses lead on."""

from collections.abc import Mapping
from dataclasses import dataclass

from libswap.linux.memory import Range
from libswap.live.copies import gates_of, is_copy, loaded_copy
from libswap.live.draining.record import DrainRecord
from libswap.live.gate import Gate
from libswap.live.leading import Leading
from libswap.live.module import Module
from libswap.live.outlook import pairing_by_name_of, pairing_of
from libswap.live.pairing import Pairing
from libswap.live.registry import CopyRecord, Family, Place
from libswap.live.subject import Subject


@dataclass(frozen=True, slots=True)
class Parties:
    """What a drain's record speaks of, as it is in the process.

    Attributes:
        place: where the record is.
        drain: what it says.
        source: the copy that made the old objects.
        target: the copy that makes the new ones.
        family: all copies of the library.
        copies: those that are loaded, each with its record.
    """

    place: Place
    drain: DrainRecord
    source: Module
    target: Module
    family: Family
    copies: tuple[tuple[CopyRecord, Module], ...]

    @classmethod
    def of(cls, subject: Subject, drain: DrainRecord) -> "Parties":
        """Find them.

        Raises:
            LoadFailed: one of them is no longer loaded, or cannot be read.
        """
        place = subject.place
        assert place is not None  # noqa: S101  the drain was read from it
        family = place.record.families[drain.family]
        copies = tuple((c, m) for c in family.copies for m in subject.modules if is_copy(c, m))
        records = {c.base: c for c in family.copies}
        source, target = (loaded_copy(subject, records[b]) for b in (drain.source, drain.target))
        return cls(place, drain, source, target, family, copies)

    @property
    def own(self) -> CopyRecord:
        """The source's record."""
        return next(c for c, m in self.copies if m.base == self.source.base)

    @property
    def gates(self) -> Mapping[int, Gate]:
        """The source's gates, by entry."""
        return gates_of(self.own)

    @property
    def area(self) -> Range:
        """The source's gates and dispatchers."""
        return Range(self.own.area, self.own.area + self.own.area_size)

    @property
    def functions(self) -> dict[int, int]:
        """Entry of the source -> function of the target."""
        return dict(self.drain.functions)

    def ways(self) -> tuple[Leading, ...]:
        """For every copy but the target, where its addresses lead in the target.

        A copy that an earlier swap left has gates at functions without a name, too.
        """
        return tuple(
            Leading.of(m, self.target, self._pairing(m), {})
            for _, m in self.copies if m.base != self.target.base
        )  # fmt: skip

    def _pairing(self, copy: Module) -> Pairing:
        pairs = pairing_by_name_of if copy.base == self.source.base else pairing_of
        return pairs(copy.facts, self.target.facts)

    def straight(self) -> list[tuple[Mapping[int, Gate], Mapping[int, int]]]:
        """For each copy but the target its gates, and what its entries are to lead to."""
        records = {m.base: c for c, m in self.copies}
        return [
            (self.gates, self.functions) if way.source.base == self.source.base
            else (gates_of(records[way.source.base]), way.entries) for way in self.ways()
        ]  # fmt: skip

    @property
    def target_index(self) -> int:
        """Of the target in the family."""
        return next(i for i, c in enumerate(self.family.copies) if c.base == self.drain.target)
