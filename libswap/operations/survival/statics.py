"""A library's own data: what of it a swap has to carry over, and whether it can."""

from collections.abc import Iterator
from typing import Final

from libswap.linux.memory import Range
from libswap.live.findings import Severity
from libswap.live.library import Library
from libswap.live.pairing import pair
from libswap.live.state import alike
from libswap.live.writable import writable_ranges
from libswap.survival.evidence import Evidence, Weight

_OF_THE_TOOLCHAIN: Final = 32
"""crtbegin's __dso_handle, and the word that its `completed` ends in."""
_SHOWN: Final = 6


def static_data(old: Library, new: Library) -> Iterator[Evidence]:
    """What is known of it from the two files."""
    pairing = pair(old, new)
    for finding in pairing.findings:
        if finding.severity is Severity.REFUSE:
            yield Evidence("static-data", Weight.DANGER, finding.subject, finding.detail, "")
    gone = [name for name, _ in pairing.unpaired]
    if gone:
        shown = ", ".join(gone[:_SHOWN]) + (" …" if len(gone) > _SHOWN else "")
        yield Evidence("static-data", Weight.DOUBT, shown, "in use perhaps", "no such object")
    carried = sum(o.size for o in pairing.objects)
    if pairing.objects:
        what = f"{len(pairing.objects)} named objects, {carried} bytes"
        yield Evidence("static-data", Weight.NOTE, "carried over", what, "the same names and sizes")
    named = [
        *(Range(o.old, o.old + o.size) for o in pairing.objects),
        *(r for _, r in pairing.unpaired),
    ]
    nameless = _nameless(old, named)
    if nameless > _OF_THE_TOOLCHAIN:
        yield _without_names(old, new, nameless)


def _nameless(library: Library, named: list[Range]) -> int:
    """Writable bytes that no name covers."""
    total = sum(r.size for r in writable_ranges(library))
    covered = sum(r.size for r in {r.start: r for r in named}.values())
    return total - covered


def _without_names(old: Library, new: Library, count: int) -> Evidence:
    if not old.statics and alike(old, new):
        return Evidence(
            "static-data", Weight.NOTE, "data without names", f"{count} bytes",
            "laid out alike: --state carry takes it over as a whole",
        )  # fmt: skip
    return Evidence(
        "static-data", Weight.DOUBT, "data without names", f"{count} bytes",
        "laid out otherwise: it begins anew unless debug symbols name it",
    )  # fmt: skip
