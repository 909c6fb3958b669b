"""The code of two files, function by function: what each pair does differently with its objects."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.linux.budget import Budget
from libswap.survival.accesses import Access, Profile
from libswap.survival.bodies import Body
from libswap.survival.code import Function
from libswap.survival.evidence import Compared, Evidence, Weight
from libswap.survival.fields import Difference, Move, differences, fields, narrowed
from libswap.survival.functions import Pairs
from libswap.survival.places import NOT_OBJECTS, NUMBER
from libswap.survival.provenance import Provenance
from libswap.survival.step import ADDRESS, NONE, NOTHING, RIP, RSP
from libswap.survival.summaries import Summaries

_DEEPEST: Final = 4
_SHOWN: Final = 8
_ALLOCATES: Final = "alloc"


@dataclass(slots=True)
class Comparison:
    """Two files."""

    pairs: Pairs
    old: Summaries
    new: Summaries
    provenance: Provenance
    evidence: list[Evidence] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    moves: dict[Move, list[str]] = field(default_factory=lambda: defaultdict(list))

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
        self._told()
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
        elif a.alike(b):
            self._same_shape(a, b)
        elif a.function.exported or (a.function.name and a.function.name == b.function.name):
            self._other_shape(a, b)
        else:
            self.counts["unnamed"] += 1

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
        mine, its = fields(self.old.of(a.function)), fields(self.new.of(b.function))
        found = [d for d in differences(mine, its) if len(d.path) <= _DEEPEST]
        for difference in found:
            self._difference(name, difference)
        for one in narrowed(mine, its):
            old, new = (Access(one.path, one.old, width) for width in (8, 4))
            self.evidence.append(
                Evidence("field-narrowed", Weight.DOUBT, name, place(old), place(new))
            )
        lost = sum(len(d.lost) for d in found if len(d.path) == 1)
        self.counts["lost"] += lost
        self.counts["kept"] += sum(len(f) for path, f in mine.items() if len(path) == 1) - lost
        self.counts["alike" if len(self.evidence) == before and not found else "changed"] += 1

    def _difference(self, name: str, difference: Difference) -> None:
        moves = list(difference.moves())
        whole = len(difference.lost) + len(difference.gained)
        if 2 * len(moves) * 2 >= whole:
            for move in moves:
                self.moves[move].append(name)

    def _told(self) -> None:
        """Moves that several functions agree on, or that are all that a function does."""
        by_function: dict[str, list[Move]] = defaultdict(list)
        for move, names in self.moves.items():
            for name in names:
                by_function[name].append(move)
        for name, moves in sorted(by_function.items()):
            agreed = [m for m in moves if len(self._agree(m)) > 1]
            weight = Weight.DANGER if agreed or len(moves) > 1 else Weight.DOUBT
            shown = (agreed or moves)[:_SHOWN]
            self.evidence.append(
                Evidence(
                    "field-moved", weight, name,
                    ", ".join(place(Access(m.path, m.old, m.width)) for m in shown),
                    ", ".join(place(Access(m.path, m.new, m.width)) for m in shown),
                )
            )  # fmt: skip

    def _agree(self, move: Move) -> set[str]:
        return {
            name for other, names in self.moves.items() for name in names
            if (other.old, other.new, other.width) == (move.old, move.new, move.width)
        }  # fmt: skip

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


def sizes(profile: Profile) -> Iterator[tuple[str, int]]:
    """(allocator, bytes) for each allocation of a fixed size."""
    for call in profile.calls:
        name = call.goal if isinstance(call.goal, str) else call.goal.name
        if _ALLOCATES not in name.lower():
            continue
        numbers = [
            value[1] for value in call.arguments[:2] if value is not None and value[0] is NUMBER
        ]
        if "calloc" in name.lower() and len(numbers) == 2:
            yield name, numbers[0] * numbers[1]
        elif numbers:
            yield name, numbers[0]


def label(function: Function) -> str:
    """A name to show."""
    return function.name or f"the function at {function.start:#x}"


def place(access: Access) -> str:
    """A field in words: argument 0 → 56 → 188, 4 bytes."""
    root, *loads = access.path
    start = f"argument {root}" if isinstance(root, int) else f"result of {root}"
    return f"{' → '.join([start, *map(str, loads), str(access.offset)])} ({access.width} bytes)"
