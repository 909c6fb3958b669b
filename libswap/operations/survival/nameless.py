"""Things without names in two builds of a library, paired by what their machine code tells."""

from pathlib import Path

from libswap.errors.base import MissingTool
from libswap.live.library import Library
from libswap.live.nameless import Doubt, Finder, Nameless, Stretch
from libswap.live.writable import nameless_ranges
from libswap.operations.survival import kept
from libswap.settings import Settings
from libswap.survival.counterparts import Counterparts, counterparts
from libswap.survival.examination import Source


def finder(state_dir: Path | None = None) -> Finder:
    """What finds them; results are kept in the state directory, where there is one."""

    def find(old: Library, new: Library) -> Nameless:
        return _as_nameless(_found(old, new, state_dir))

    return find


def _found(old: Library, new: Library, state_dir: Path | None) -> Counterparts:
    one, other = (Source(library.image, library.symbol_file) for library in (old, new))
    known = kept.find(state_dir, one, other, Counterparts)
    if known is not None:
        return known
    places = nameless_ranges(old), nameless_ranges(new)
    try:
        found = counterparts(one, other, *places, seconds=Settings().survival_time)
    except MissingTool:
        return Counterparts()
    if found.whole:
        kept.keep(state_dir, one, other, found)
    return found


def _as_nameless(found: Counterparts) -> Nameless:
    return Nameless(
        tuple(Stretch(s.old, s.new, s.size, s.witnesses) for s in found.stretches),
        tuple(Doubt(d.old, d.size, d.why, d.users) for d in found.doubts),
        dict(found.functions),
        frozenset(found.users),
    )
