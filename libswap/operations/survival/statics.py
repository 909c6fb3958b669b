"""A library's own data: what of it a swap has to carry over, and whether it can."""

from collections.abc import Iterable, Iterator
from typing import Final

from libswap.elf.nameless import Doubt, Nameless
from libswap.errors.base import MissingTool
from libswap.linux.memory import Range
from libswap.live.findings import Severity
from libswap.live.library import Library
from libswap.live.outlook import data_of_old_code, pairing_of
from libswap.live.survey import alike, as_a_whole
from libswap.live.writable import writable_ranges
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code
from libswap.survival.comparison import label
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.forms import Forms
from libswap.survival.reach import reaches_data
from libswap.survival.steps import Steps

_OF_THE_TOOLCHAIN: Final = 32
"""crtbegin's __dso_handle, and the word that its `completed` ends in."""
_SHOWN: Final = 6
_AS_IT_BEGAN: Final = "must be as it began"
_WRITTEN: Final = "not carried, and code writes to it"
_ALIKE: Final = f"{_AS_IT_BEGAN}, or --state carry takes it over as a whole: it is laid out alike"


def static_data(old: Library, new: Library, *, identical: bool) -> Iterator[Evidence]:
    """What is known of it from the two files.

    Args:
        old: one library.
        new: the other.
        identical: code and data are the same but for the build id.
    """
    pairing = pairing_of(old, new)
    for finding in pairing.findings:
        if finding.severity is Severity.REFUSE:
            yield Evidence("static-data", Weight.DANGER, finding.subject, finding.detail, "")
    gone = [name for name, _ in pairing.unpaired]
    if gone:
        shown = ", ".join(gone[:_SHOWN]) + (" …" if len(gone) > _SHOWN else "")
        yield Evidence("static-data", Weight.DOUBT, shown, "in use perhaps", "no such object")
    known = pairing.nameless
    proven = {s.old for s in known.stretches}
    objects = [o for o in pairing.objects if o.old not in proven]
    if objects:
        what = f"{len(objects)} named objects, {sum(o.size for o in objects)} bytes"
        yield Evidence("static-data", Weight.NOTE, "carried over", what, "the same names and sizes")
    if known.stretches or known.doubts:
        yield from _by_code(old, new, known)
        return
    named = [
        *(Range(o.old, o.old + o.size) for o in pairing.objects),
        *(r for _, r in pairing.unpaired),
    ]
    nameless = _nameless(old, named)
    if nameless > _OF_THE_TOOLCHAIN:
        yield _without_names(old, new, nameless, identical=identical)


def _by_code(old: Library, new: Library, known: Nameless) -> Iterator[Evidence]:
    """What the machine code tells of data without names."""
    if known.stretches:
        size = sum(s.size for s in known.stretches)
        agreeing = sum(s.witnesses for s in known.stretches)
        told = f"proven by {agreeing} places in the code that name it in both"
        what = f"{size} bytes without names"
        yield Evidence("static-data", Weight.NOTE, "carried over", what, told)
    lost = {d for d in known.doubts if d.written}
    if known.doubts and _carried_whole(old, new):
        if not data_of_old_code(old, new):
            yield from _shown(known.doubts, Weight.CONDITION, _ALIKE)
            return
        code = Code(old.image, old.symbol_file)
        constructors = {label(code.by_start[at]) for at in code.constructors}
        lost = {d for d in lost if constructors & set(d.users)}  # never as they began
    yield from _shown([d for d in known.doubts if d in lost], Weight.DOUBT, _WRITTEN)
    rest = [d for d in known.doubts if d not in lost]
    yield from _shown(rest, Weight.CONDITION, _AS_IT_BEGAN)


def _shown(doubts: Iterable[Doubt], weight: Weight, told: str) -> Iterator[Evidence]:
    used = [d for d in doubts if d.users]
    if used:
        size = sum(d.size for d in used)
        shown = "; ".join(f"{d.old:#x}: {d.why}" for d in used[:_SHOWN])
        shown += " ..." if len(used) > _SHOWN else ""
        told = f"{told}: {shown}"
        yield Evidence("static-data", weight, "data without names", f"{size} bytes", told)


def _nameless(library: Library, named: list[Range]) -> int:
    """Writable bytes that no name covers."""
    total = sum(r.size for r in writable_ranges(library))
    covered = sum(r.size for r in {r.start: r for r in named}.values())
    return total - covered


def _without_names(old: Library, new: Library, count: int, *, identical: bool) -> Evidence:
    weight = Weight.DOUBT
    if identical or _carried_whole(old, new):
        weight, told = Weight.CONDITION, _ALIKE
    elif old.statics or not alike(old, new):
        told = "laid out otherwise: it begins anew unless debug symbols name it"
    else:
        told = "laid out alike, but it leads to old code that has data of its own"
    return Evidence("static-data", weight, "data without names", f"{count} bytes", told)


def _carried_whole(old: Library, new: Library) -> bool:
    """Whether --state carry would carry all of it, and nothing of it leads to data left behind."""
    return as_a_whole(old, new) and not _used_by_old_code(old)


def _used_by_old_code(library: Library) -> bool:
    """Whether functions without names that the data point to use the library's data in turn.

    Carried over, the data go on to point to them in the old copy, whose data have begun anew.
    """
    code = Code(library.image, library.symbol_file)
    ranges = writable_ranges(library)
    starts = {
        to for place, to in code.pointers.items()
        if to in code.by_start and not code.by_start[to].exported
        and any(place in r for r in ranges)
    }  # fmt: skip
    try:
        return reaches_data(Bodies(code, Forms(Steps())), starts)
    except MissingTool:
        return True
