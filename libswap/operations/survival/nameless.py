"""Things without names in two builds of a library, paired by what their machine code tells."""

from pathlib import Path

from libswap.elf.nameless import NOTHING, Nameless
from libswap.errors.base import MissingTool
from libswap.live.library import Finder, Library
from libswap.live.writable import nameless_ranges
from libswap.operations.survival import kept
from libswap.settings import Settings
from libswap.survival.counterparts import counterparts
from libswap.survival.sources import Source


def finder(state_dir: Path | None = None) -> Finder:
    """What finds them; results are kept in the state directory, where there is one."""

    def find(old: Library, new: Library) -> Nameless:
        one, other = (Source(library.image, library.symbol_file) for library in (old, new))
        known = kept.find(state_dir, one, other, Nameless)
        if known is not None:
            return known
        places = nameless_ranges(old), nameless_ranges(new)
        try:
            found = counterparts(one, other, *places, seconds=Settings().survival_time)
        except MissingTool:
            return NOTHING
        if found.whole:
            kept.keep(state_dir, one, other, found)
        return found

    return find
