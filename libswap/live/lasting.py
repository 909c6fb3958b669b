"""Old code that goes on to run after a swap, and the library's own data that it uses."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from libswap.elf.frames import frames
from libswap.elf.instructions import instructions
from libswap.errors.base import MissingTool
from libswap.linux.memory import Range
from libswap.live.entries import Entries
from libswap.live.findings import Finding, risk
from libswap.live.pairing import Pairing
from libswap.live.writable import without, writable_ranges

_MOST: Final = 1 << 22
"""Bytes of code that are read of one library."""
_SHOWN: Final = 6


def data_of(
    entries: Entries, functions: Iterable[int], pairing: Pairing
) -> Mapping[int, tuple[Range, ...]]:
    """Which writable data some functions of the old library name.

    What each copy chooses for itself when it is loaded is left out.

    Args:
        entries: of the library.
        functions: where they begin; what they call is to be among them.
        pairing: with the other file: it tells where one piece of data ends and the next begins.

    Returns:
        Function -> the pieces, for those that name any. Code that cannot be read may use all.
    """
    ranges = writable_ranges(entries.library)
    chosen = [Range(at, at + size) for at, size in pairing.nameless.choices]
    edges = sorted(set(_edges(pairing)))
    found = {}
    for at, named in _named(entries, functions):
        parts = ranges if named is None else {
            _around(address, r, edges) for address in named for r in ranges if address in r
        }  # fmt: skip
        if pieces := without(parts, chosen):
            found[at] = pieces
    return found


def _named(
    entries: Entries, functions: Iterable[int]
) -> Iterator[tuple[int, Collection[int] | None]]:
    """Each function and the addresses that its instructions name; None where that is not known."""
    ends = {r.start: r.end for r in frames(entries.library.image)}
    left = _MOST
    for at in functions:
        code = entries.bytes_at(at, min(ends.get(at, at + entries.gap(at)) - at, left + 1))
        left -= len(code)
        try:
            yield at, None if left < 0 else {
                i.memory_displacement for i in instructions(code, at) if i.is_ip_rel_memory_operand
            }  # fmt: skip
        except MissingTool:
            yield at, None


def _edges(pairing: Pairing) -> Iterator[int]:
    for at, size in (
        *((o.old, o.size) for o in pairing.objects),
        *((d.old, d.size) for d in pairing.nameless.doubts),
    ):
        yield from (at, at + size)
    for _, place in pairing.unpaired:
        yield from (place.start, place.end)


def _around(address: int, whole: Range, edges: Sequence[int]) -> Range:
    """The piece of a range that an address lies in."""
    index = bisect_right(edges, address)
    start = max(whole.start, edges[index - 1]) if index else whole.start
    end = min(whole.end, edges[index]) if index < len(edges) else whole.end
    return Range(start, end)


def state_of_old_code(
    kept: Iterable[tuple[int, str]], users: Collection[int], instead: str
) -> Iterator[Finding]:
    """Old code that goes on would work on data that the new code has then.

    Args:
        kept: where it begins, and what to call it.
        users: which functions use data that is carried.
        instead: what works.
    """
    names = [label for at, label in kept if at in users]
    if names:
        shown = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
        detail = "a saved pointer may still reach it, and it uses data that goes to the new library"
        yield risk("state-of-old-code", shown, detail, instead)
