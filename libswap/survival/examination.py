"""Two files examined: every kind of evidence that they themselves hold."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libswap.elf.format import EM_X86_64
from libswap.elf.image import Image
from libswap.survival import addresses
from libswap.survival.code import Code
from libswap.survival.comparison import Comparison
from libswap.survival.evidence import Compared, Evidence, Weight
from libswap.survival.functions import Bodies, Pairs
from libswap.survival.identity import loaded
from libswap.survival.steps import Steps
from libswap.survival.summaries import Summaries
from libswap.survival.tables import moved_entries


@dataclass(frozen=True, slots=True)
class Source:
    """One of the two.

    Attributes:
        image: the file itself.
        symbols: the file that holds its .symtab, where it is another one.
    """

    image: Image
    symbols: Image | None = None


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
        seconds: after which no further function is looked at.

    Raises:
        InvalidElf: one of them is damaged.
        MissingTool: iced-x86 is not installed.
    """
    identical = loaded(old.image) == loaded(new.image)
    if any(not _readable(source.image) for source in (old, new)):
        return Examined(identical=identical)
    deadline = time.monotonic() + seconds
    with _no_garbage():
        decoder = Steps()
        after = Bodies(Code(new.image, new.symbols), decoder)
        if identical:
            return _same(after, deadline)
        before = Bodies(Code(old.image, old.symbols), decoder)
        return _different(before, after, deadline)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Look for no garbage: millions of small tuples come up, and none of them is in a circle.

    Looking takes a fifth of the time for a library of 6 MB.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _different(before: Bodies, after: Bodies, deadline: float) -> Examined:
    pairs = Pairs(before, after)
    pairs.find()
    comparison = Comparison.of(pairs)
    compared = comparison.run(deadline)
    found = (
        *comparison.evidence, *moved_entries(pairs),
        *addresses.compared(comparison.new, deadline), *addresses.labels(after),
    )  # fmt: skip
    ranks = {weight: rank for rank, weight in enumerate(Weight)}
    ordered = sorted(found, key=lambda e: (ranks[e.weight], e.kind, e.subject, e.old))
    return Examined(identical=False, evidence=tuple(ordered), compared=compared)


def _same(bodies: Bodies, deadline: float) -> Examined:
    """What there is to say of code that is the same: it lies at other addresses nevertheless."""
    count = len(bodies.code.functions)
    found = [*addresses.compared(Summaries.over(bodies), deadline)]
    if addresses.labels_reach_data(bodies):
        found += addresses.labels(bodies)
    seen = Compared(functions=count, identical=count)
    return Examined(identical=True, evidence=tuple(found), compared=seen)


def _readable(image: Image) -> bool:
    return image.header.machine == EM_X86_64 and image.header.bits == 64
