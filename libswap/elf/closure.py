"""Everything that is loaded with a library: what it needs, what those need, and so on."""

import posixpath
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.library import Libraries, Library
from libswap.elf.search import Requester, Search
from libswap.errors.base import InvalidElf

MAX_LIBRARIES: Final = 2048
"""No program loads as many; libraries in a strange root may need each other without end."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that could not be had.

    Attributes:
        name: as DT_NEEDED asks for it.
        needed_by: the path of the file that does.
        damage: what is wrong with the file that was found; "" where none was found.
        refused: whether the dynamic linker gives up over it, as over a text file.
    """

    name: str
    needed_by: str
    damage: str = ""
    refused: bool = True


@dataclass(frozen=True, slots=True)
class Closure:
    """What a search came to.

    Attributes:
        libraries: in the order of loading (breadth first), each named by its path in the root.
        missing: what could not be had.
    """

    libraries: tuple[Library, ...]
    missing: tuple[Missing, ...]


def closure(
    search: Search, chain: Sequence[Requester], libraries: Libraries, extra: Sequence[str] = ()
) -> Closure:
    """Look up all that a library needs, as the dynamic linker does when it loads it.

    Args:
        search: the dynamic linker's search order.
        chain: the library, then who loads it, and so on up to the program.
        libraries: what has been read already.
        extra: names that are looked up as well, without being missed.
    """
    start = chain[0].library
    known = {posixpath.basename(start.name), *_soname(start)}
    found: list[Library] = []
    missing: list[Missing] = []
    waiting = deque((name, tuple(chain)) for name in start.needed)
    waiting.extend((name, ()) for name in extra)
    while waiting and len(found) < MAX_LIBRARIES:
        name, requesters = waiting.popleft()
        if name in known:
            continue
        known.add(name)
        asker = requesters[0].library.name if requesters else ""
        try:
            place = search.find(name, requesters)
        except InvalidElf as error:
            missing.append(Missing(name, asker, error.reason))
            continue
        try:
            library = libraries.of(place.image) if place else None
        except InvalidElf as error:
            missing.append(Missing(name, asker, error.reason, refused=False))
            continue
        if place is None or library is None:
            if requesters:
                missing.append(Missing(name, asker))
            continue
        if library.soname != name and not known.isdisjoint(_soname(library)):
            continue  # loaded already, under its own name
        known.update(_soname(library))
        found.append(library)
        asking = Requester(posixpath.dirname(place.path), library)
        waiting.extend((needed, (asking, *requesters)) for needed in library.needed)
    return Closure(tuple(found), tuple(missing))


def _soname(library: Library) -> tuple[str, ...]:
    return () if library.soname is None else (library.soname,)
