"""What runs when the process ends: the destructors of the copy in use, and no handler twice.

Handlers that a library registers with atexit(3) or __cxa_atexit belong to a copy by the address of
its __dso_handle. A constructor of the new copy registers again what the old one's has registered,
and where both lead to one function with one argument, one of them is too many. (Destructors of
objects have the object as argument: each runs on its own copy's, which is right.) What goes is the
new copy's entry; the old one's keeps its place in the order, and leads to whichever copy is in use.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from libswap.elf.dynamic import Tag
from libswap.elf.link_map import parse_auxv
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.linux.procfs import PROC
from libswap.live.leading import word
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.reach import reach
from libswap.live.stacks import Areas
from libswap.live.subject import Subject
from libswap.live.writing import Write

_MOST_DYNAMIC: Final = 4096
_AT_RANDOM: Final = 25
_FREE: Final = 0
_CXA: Final = 4
"""Flavours of an entry (glibc, stdlib/exit.h: struct exit_function)."""
_ENTRY: Final = struct.Struct("<4Q")
_OF_LIBRARY: Final = 24
"""Where in an entry the address that tells whose it is lies."""
_MASK: Final = (1 << 64) - 1


def end_writes(memory: Memory, side: Module, *, silent: bool) -> tuple[Write, ...]:
    """Whether a copy's destructors run when the process ends: those of the copy in use do.

    The first of DT_FINI_ARRAY is crtbegin's __do_global_dtors_aux, which is kept: it runs what
    __cxa_atexit registered for this copy before the copy can be unmapped.
    """
    keeps_first = any(s.name == "__cxa_finalize" and not s.defined for s in side.facts.symbols)
    size = side.facts.dynamic.value(Tag.FINI_ARRAYSZ) or 0
    if not size:
        return ()
    wanted = min(size, 8 if keeps_first else 0) if silent else size
    for index in range(_MOST_DYNAMIC):
        place = side.link.dynamic + 16 * index
        tag, value = struct.unpack("<QQ", memory.read(place, 16))
        if tag == Tag.NULL:
            break
        if tag == Tag.FINI_ARRAYSZ:
            return () if value == wanted else (word(place + 8, value, wanted),)
    return ()


class Handler(NamedTuple):
    """What a copy has registered for the exit.

    Attributes:
        place: address of the entry, which begins with its flavour.
    """

    place: int
    function: int
    argument: int


def registers_handlers(library: Library) -> bool:
    """Whether a library can register any."""
    return any(s.name in _REGISTERING and not s.defined for s in library.symbols)


_REGISTERING: Final = frozenset({"__cxa_atexit", "__cxa_at_quick_exit"})


def handlers(subject: Subject, copies: Sequence[Module]) -> list[Handler]:
    """What these copies have registered, found by searching the process's memory."""
    guard = pointer_guard(subject)
    extents = [m.extent for m in copies]
    found = reach(
        subject.memory, subject.mappings, subject.memory.tid, Areas(extents), extents
    )  # fmt: skip
    return [h for hit in found.words if (h := _handler(subject.memory, hit.at, guard, extents))]


def _handler(memory: Memory, at: int, guard: int, extents: Sequence[Range]) -> Handler | None:
    """The entry whose last word lies there, if it is one: function and library are of one copy."""
    place = at - _OF_LIBRARY
    try:
        flavour, mangled, argument, library = _ENTRY.unpack(memory.read(place, _ENTRY.size))
    except MemoryUnreachable:
        return None
    function = ((mangled >> 17 | mangled << 47) & _MASK) ^ guard
    if flavour != _CXA or not any(function in e and library in e for e in extents):
        return None
    return Handler(place, function, argument)


def pointer_guard(subject: Subject) -> int:
    """What glibc mangles pointers with: the second word of AT_RANDOM (PTR_MANGLE)."""
    auxv = parse_auxv(PROC.read(subject.memory.tid, "auxv"))
    return int.from_bytes(subject.memory.read(auxv[_AT_RANDOM] + 8, 8), "little")


def silenced(
    found: Sequence[Handler], new: Range, leads: Iterable[Mapping[int, int]]
) -> Iterator[Write]:
    """Free the entries of a new copy that older ones have too.

    Args:
        found: what all copies have registered.
        new: the extent of the new copy.
        leads: for each older copy the entries that will lead to the new one.
    """
    known = Counter(
        (entries[h.function], h.argument)
        for entries in leads for h in found if h.function in entries
    )  # fmt: skip
    for handler in found:
        key = handler.function, handler.argument
        if handler.function in new and known[key]:
            known[key] -= 1
            yield word(handler.place, _CXA, _FREE)
