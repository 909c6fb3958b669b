"""The code of two files, function by function: what each pair does differently with its objects."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.linux.budget import Budget
from libswap.survival.accesses import Access, Profile
from libswap.survival.allocations import sizes
from libswap.survival.bodies import Body
from libswap.survival.code import Function
from libswap.survival.evidence import Compared, Evidence, Weight
from libswap.survival.fields import Difference, Fields, differences, fields, narrowed
from libswap.survival.functions import Pairs
from libswap.survival.moved import Moved, place
from libswap.survival.places import NOT_OBJECTS
from libswap.survival.provenance import Provenance
from libswap.survival.step import ADDRESS, NONE, NOTHING, RIP, RSP
from libswap.survival.summaries import Summaries

_DEEPEST: Final = 4
_CALLS: Final = 100
_SHOWN: Final = 8


@dataclass(slots=True)
class Comparison:
    """Two files."""

    pairs: Pairs
    old: Summaries
    new: Summaries
    provenance: Provenance
    evidence: list[Evidence] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    moved: Moved = field(default_factory=Moved)
    _wrappers: list[Body] = field(default_factory=list)
    _moving: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Pairs) -> "Comparison":
        """Of files whose functions are paired."""
        old = Summaries.over(pairs.old)
        return cls(pairs, old, Summaries.over(pairs.new), Provenance(old))

    def run(self, budget: Budget) -> Compared:
        """Look at every pair, as long as there is time."""
        for old, new in sorted(self.pairs.functions.items()):
            if budget.spent:
                self.counts["unseen"] += 1
            else:
                self._pair(*self._bodies(old, new))
        for wrapper in self._wrappers if self._moving else ():
            if not budget.spent:
                self._below(wrapper)
        self.evidence += self.moved.evidence(self.pairs.old)
        total = len(self.pairs.old.code.functions)
        return Compared(
            functions=total, identical=self.counts["identical"], alike=self.counts["alike"],
            changed=self.counts["changed"], unpaired=total - len(self.pairs.functions),
            unseen=self.counts["unseen"], kept=self.counts["kept"], lost=self.counts["lost"],
        )  # fmt: skip

    def _bodies(self, old: int, new: int) -> tuple[Body, Body]:
        a, b = self.pairs.old, self.pairs.new
        return a.of(a.code.by_start[old]), b.of(b.code.by_start[new])

    def _pair(self, a: Body, b: Body) -> None:
        if a.exactly(b):
            self.counts["identical"] += 1
            if a.function.exported:
                self._wrappers.append(a)
        elif a.alike(b):
            self._same_shape(a, b)
        elif a.function.exported or (a.function.name and a.function.name == b.function.name):
            self._other_shape(a, b)
        else:
            self.counts["unnamed"] += 1
            self._nameless(a, b)

    def _nameless(self, a: Body, b: Body) -> None:
        """Functions that changed and are paired by who calls them, which may be a mistake."""
        for difference in self._differences(a, b)[2]:
            if any(difference.moves()):
                self._moving[a.function.start] = True
                self.moved.guess(label(a.function), difference)

    def _below(self, a: Body) -> None:
        """What an exported function that is the same reaches through such functions."""
        if self._calls_moving(a):
            b = self._bodies(a.function.start, self.pairs.functions[a.function.start])[1]
            for difference in self._differences(a, b)[2]:
                self.moved.note(label(a.function), difference, below=True)

    def _calls_moving(self, a: Body, depth: int = 0) -> bool:
        start = a.function.start
        known = self._moving.get(start)
        if known is None:
            self._moving[start] = False  # for calls in a circle
            known = self._moving[start] = depth < _CALLS and any(
                self._calls_moving(self.pairs.old.of(one), depth + 1)
                for one in self.pairs.old.named(a).values() if isinstance(one, Function)
            )  # fmt: skip
        return known

    def _differences(self, a: Body, b: Body) -> tuple[Fields, Fields, list[Difference]]:
        mine, its = fields(self.old.of(a.function)), fields(self.new.of(b.function))
        return mine, its, [d for d in differences(mine, its) if len(d.path) <= _DEEPEST]

    def _same_shape(self, a: Body, b: Body) -> None:
        """The very same code but for some numbers: nothing but a field or a size is different."""
        ones, others = self.old.profile(a.function), self.new.profile(b.function)
        before = len(self.evidence)
        moved = [
            (one, other) for one, other in zip(ones.trace, others.trace, strict=False)
            if one and other and one != other and self._lasts(a, one)
        ]  # fmt: skip
        name = label(a.function)
        if moved:
            shown = list(dict.fromkeys(moved))[:_SHOWN]
            self.evidence.append(
                Evidence(
                    "field-moved", Weight.DANGER, name,
                    ", ".join(place(one) for one, _ in shown),
                    ", ".join(place(other) for _, other in shown),
                )
            )  # fmt: skip
        else:
            self._unknown_objects(name, a, b, ones.trace)
        self._sizes(name, ones, others)
        self.counts["alike" if len(self.evidence) == before else "changed"] += 1

    def _unknown_objects(self, name: str, a: Body, b: Body, trace: Sequence[Access | None]) -> None:
        """Displacements that differ on a pointer of which it is not known where it came from."""
        both = zip(a.steps, b.steps, strict=False)
        named = ((x, y) for x, y in both if x.width and x.kind not in (ADDRESS, NOTHING))
        found = {
            (x.offset, y.offset, x.width) for (x, y), access in zip(named, trace, strict=False)
            if access is None and x.base not in (NONE, RIP, RSP) and x.offset != y.offset
        }  # fmt: skip
        for old, new, width in sorted(found)[:_SHOWN]:
            self.evidence.append(
                Evidence(
                    "field-moved", Weight.DOUBT, name, f"some object → {old} ({width} bytes)",
                    f"some object → {new} ({width} bytes)",
                )
            )  # fmt: skip

    def _lasts(self, body: Body, access: Access) -> bool:
        if access.path in NOT_OBJECTS:
            return False
        root = access.path[0]
        if not isinstance(root, int) or len(access.path) > 1:
            return True
        return not self.provenance.transient(body.function, root)

    def _other_shape(self, a: Body, b: Body) -> None:
        ones, others = self.old.profile(a.function), self.new.profile(b.function)
        name = label(a.function)
        before = len(self.evidence)
        self._sizes(name, ones, others)
        mine, its, found = self._differences(a, b)
        for difference in found:
            self.moved.note(name, difference)
        for one in narrowed(mine, its):
            old, new = (Access(one.path, one.old, width) for width in (8, 4))
            self.evidence.append(
                Evidence("field-narrowed", Weight.DOUBT, name, place(old), place(new))
            )
        lost = sum(len(d.lost) for d in found if len(d.path) == 1)
        self.counts["lost"] += lost
        self.counts["kept"] += sum(len(f) for path, f in mine.items() if len(path) == 1) - lost
        self.counts["alike" if len(self.evidence) == before and not found else "changed"] += 1

    def _sizes(self, name: str, ones: Profile, others: Profile) -> None:
        """Numbers that are handed to allocators."""
        lost, gained = Counter(sizes(ones)), Counter(sizes(others))
        lost, gained = lost - gained, gained - lost
        for (allocator, one), (other_allocator, other) in zip(
            sorted(lost), sorted(gained), strict=False
        ):
            if allocator == other_allocator:
                self.evidence.append(
                    Evidence(
                        "size-changed", Weight.DANGER, name, f"{allocator} of {one} bytes",
                        f"{other} bytes",
                    )
                )  # fmt: skip


def label(function: Function) -> str:
    """A name to show."""
    return function.name or f"the function at {function.start:#x}"
