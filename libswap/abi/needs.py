"""Rules on what a library asks others for."""

from collections.abc import Iterator

from libswap.abi import catalogue
from libswap.abi.finding import Finding
from libswap.elf.library import Library


def needed(old: Library, new: Library) -> Iterator[Finding]:
    """DT_NEEDED entries that came or went; whether they can be found is `scope`'s matter."""
    for name in new.needed:
        if name not in old.needed:
            yield catalogue.NEEDED_ADDED.finding(name, "", "needed")
    for name in old.needed:
        if name not in new.needed:
            yield catalogue.NEEDED_REMOVED.finding(name, "needed", "")
