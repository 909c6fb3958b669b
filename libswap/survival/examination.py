"""Two files examined: every kind of evidence that they themselves hold."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from libswap.elf.image import Image
from libswap.elf.records import records
from libswap.linux.budget import Budget
from libswap.linux.scheduling import without_collection
from libswap.survival import addresses, allocations, handlers, layouts
from libswap.survival.bodies import Bodies
from libswap.survival.comparison import Comparison
from libswap.survival.evidence import Compared, Evidence, Weight
from libswap.survival.functions import Pairs
from libswap.survival.identity import loaded
from libswap.survival.sources import Source, bodies
from libswap.survival.summaries import Summaries
from libswap.survival.tables import moved_entries


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    Attributes:
        identical: code and data are the same but for the build id.
        evidence: the worst first.
        compared: how much code was seen; None where none could be.
    """

    identical: bool
    evidence: tuple[Evidence, ...] = ()
    compared: Compared | None = None


def examine(old: Source, new: Source, *, seconds: float) -> Examined:
    """Compare the machine code of two files.

    Args:
        old: what made the objects.
        new: what would get them.
        seconds: of processor time, after which no further function is looked at.

    Raises:
        InvalidElf: one of them is damaged.
        MissingTool: iced-x86 is not installed.
    """
    identical = loaded(old.image) == loaded(new.image)
    if not (old.readable and new.readable):
        return Examined(identical=identical)
    budget = Budget.of(seconds)
    with without_collection():
        before, after = bodies(old, new)
        if identical:
            return _same(after, budget)
        alike, types = _types((before, after), (old.debug, new.debug), budget)
        found = _different(before, after, budget)
    explained = tuple(_explained(e) for e in found.evidence) if alike else found.evidence
    return replace(
        found, evidence=_ordered((*types, *explained)),
        compared=replace(found.compared, types=alike) if found.compared else None,
    )  # fmt: skip


def _types(
    both: tuple[Bodies, Bodies], debug: tuple[Image | None, Image | None], budget: Budget
) -> tuple[int, tuple[Evidence, ...]]:
    """How many structures are alike by the debug information, or what is different."""
    one, other = (
        records(image, file.code.own, budget) if image is not None else None
        for file, image in zip(both, debug, strict=True)
    )
    return layouts.compared(one, other) if one is not None and other is not None else (0, ())


def _different(before: Bodies, after: Bodies, budget: Budget) -> Examined:
    pairs = Pairs(before, after)
    pairs.find(budget)
    comparison = Comparison.of(pairs)
    compared = comparison.run(budget)
    found = (
        *comparison.evidence, *moved_entries(pairs),
        *addresses.compared(comparison.new, budget), *addresses.labels(after),
        *allocations.resized(pairs, comparison.old, comparison.new, budget),
        *handlers.kept(pairs, comparison.old, comparison.new, budget),
    )  # fmt: skip
    return Examined(identical=False, evidence=_ordered(found), compared=_timed(compared, budget))


def _timed(compared: Compared, budget: Budget) -> Compared:
    """With a mark that not all was looked at, where the time was used up: nobody keeps that."""
    return replace(compared, unseen=max(compared.unseen, 1)) if budget.spent else compared


def _ordered(found: Iterable[Evidence]) -> tuple[Evidence, ...]:
    ranks = {weight: rank for rank, weight in enumerate(Weight)}
    return tuple(sorted(found, key=lambda e: (ranks[e.weight], e.kind, e.subject, e.old)))


def _explained(evidence: Evidence) -> Evidence:
    """Without the doubt whether a field moved: the structures themselves are known to be alike."""
    doubt = evidence.weight is Weight.DOUBT and evidence.kind.startswith("field-")
    return replace(evidence, weight=Weight.NOTE) if doubt else evidence


def _same(file: Bodies, budget: Budget) -> Examined:
    """What there is to say of code that is the same: it lies at other addresses nevertheless."""
    count = len(file.code.functions)
    found = [*addresses.compared(Summaries.over(file), budget)]
    if addresses.labels_reach_data(file):
        found += addresses.labels(file)
    seen = _timed(Compared(functions=count, identical=count), budget)
    return Examined(identical=True, evidence=tuple(found), compared=seen)
