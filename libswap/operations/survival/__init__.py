"""Do live objects survive a swap from one library to another: the verdict, with its evidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from libswap.elf.debugfile import with_debug_info
from libswap.errors.base import MissingTool
from libswap.linux.rooted import Root
from libswap.linux.scheduling import without_collection
from libswap.live.library import Library
from libswap.operations.survival import kept
from libswap.operations.survival.statics import static_data
from libswap.settings import Settings
from libswap.survival.evidence import Compared, Evidence, Weight
from libswap.survival.examination import Examined, examine
from libswap.survival.identity import loaded
from libswap.survival.sources import Source
from libswap.survival.verdict import Verdict, enough, verdict

__all__ = ["Survival", "Verdict", "survival", "survival_of_objects"]


@dataclass(frozen=True, slots=True)
class Survival:
    """The verdict on a swap.

    Attributes:
        verdict: whether objects that the old library made survive in the new one.
        reasons: in words, what led to it.
        evidence: every difference that counts, the worst first, and what the verdict rests on.
        compared: how much of the code was seen; None where none was.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    compared: Compared | None

    @property
    def conditions(self) -> tuple[Evidence, ...]:
        """What must be so in a process, which a live plan finds out."""
        return tuple(e for e in self.evidence if e.weight is Weight.CONDITION)

    @property
    def told(self) -> tuple[str, ...]:
        """The worst of it in words."""
        worst = self.evidence[0].weight if self.evidence else Weight.NOTE
        if worst not in (Weight.DANGER, Weight.DOUBT):
            return self.reasons
        return tuple(
            f"{e.subject}: {e.kind}: {e.old}{f' → {e.new}' if e.new else ''}"
            for e in self.evidence if e.weight is worst
        )  # fmt: skip


def survival(old: Library, new: Library, state_dir: Path | None = None) -> Survival:
    """The verdict on two files, and on what condition: what their own data need.

    Args:
        old: what made the objects.
        new: what would get them.
        state_dir: where the result of a comparison is kept; None for nowhere.

    Raises:
        InvalidElf: one of them is damaged.
    """
    with without_collection():  # what was read of the code is still there for the data
        found = _examined(old, new, state_dir)
        return _judged(found, tuple(static_data(old, new, identical=found.identical)))


@lru_cache(maxsize=32)
def survival_of_objects(old: Library, new: Library, state_dir: Path | None = None) -> Survival:
    """Likewise without the library's own data: a live plan looks at them in the process itself."""
    return _judged(_examined(old, new, state_dir), ())


def _examined(old: Library, new: Library, state_dir: Path | None) -> Examined:
    with Root.open("/") as here:
        one, other = (
            Source(x.image, x.symbol_file, with_debug_info(x.image, x.image.name, (here,)))
            for x in (old, new)
        )
    known = kept.find(state_dir, one, other, Examined)
    if known is not None:
        return known
    try:
        found = examine(one, other, seconds=Settings().survival_time)
    except MissingTool:
        return Examined(identical=loaded(one.image) == loaded(other.image))
    if found.compared is not None and not found.compared.unseen:
        kept.keep(state_dir, one, other, found)
    return found


def _judged(found: Examined, more: tuple[Evidence, ...]) -> Survival:
    evidence = tuple(sorted((*found.evidence, *more), key=lambda e: list(Weight).index(e.weight)))
    decided = verdict(evidence, found.compared, identical=found.identical)
    return Survival(decided, tuple(_reasons(found, evidence)), evidence, found.compared)


def _reasons(found: Examined, evidence: tuple[Evidence, ...]) -> Iterator[str]:
    if found.identical:
        yield "code and data are the same but for the build id, byte for byte"
        if found.compared is None:
            yield "whether they compare their own addresses was not seen: that takes iced-x86"
        return
    if found.compared is None:
        yield "the machine code could not be compared: that takes iced-x86 and an x86-64 library"
        return
    seen = found.compared
    yield (
        f"{seen.functions} functions: {seen.identical} identical, {seen.alike} do the same with"
        f" their objects, {seen.changed} do something else, {seen.unpaired} have no counterpart"
    )
    if seen.unseen:
        yield f"{seen.unseen} functions were not looked at: the time was used up"
    elif not enough(seen):
        yield "too little of the new code was recognised to say that nothing has moved"
    if not any(e.weight in (Weight.DANGER, Weight.DOUBT) for e in evidence):
        yield "no field, size or table was seen to change"
