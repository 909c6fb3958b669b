"""Words that point into the old copy, of which every object of some libraries holds one."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from libswap.elf.format import SegmentFlags, SegmentType
from libswap.elf.symbols import SymbolType
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.linux.procfs import PROC
from libswap.live.draining import table
from libswap.live.draining.parties import Parties
from libswap.live.got import copied_objects, slots
from libswap.live.module import Module
from libswap.live.outlook import for_exit
from libswap.live.reach import reach
from libswap.live.stacks import Areas, Hit, is_stack
from libswap.live.subject import Subject

_LARGEST_LINK_MAP: Final = 0x2000
_DESCRIPTOR: Final = 0x2000
"""Bytes that hold it; glibc 2.36 takes 0x900 for it."""
_SELF: Final = 2
"""Words from the one pointer to the other."""
_READ_IMPLIES_EXEC: Final = 0x0400000


def pointers_into(
    subject: Subject, parties: Parties, gone: Sequence[Range]
) -> tuple[tuple[Hit, ...], bool]:
    """The words, and whether all of the memory was searched.

    Args:
        subject: the process, which goes on meanwhile.
        parties: of the drain.
        gone: memory of objects that are known to be gone.
    """
    source, memory = parties.source, subject.memory
    family = [m.extent for _, m in parties.copies]
    areas = [Range(c.area, c.area + c.area_size) for c, _ in parties.copies if c.area]
    handles = Range(parties.drain.table, parties.drain.table + table.ALLOCATED)
    wanted = Areas(_places(parties))
    skipped = [*family, *areas, handles, *_code(subject)]
    found = reach(memory, subject.mappings, memory.tid, wanted, skipped)
    known = Range(source.link.address, source.link.address + _LARGEST_LINK_MAP)
    skip = Areas([*gone, known, *_copied(subject, source)])
    bound = {s.place for m in subject.modules if m.library is not None
             for s in slots(memory, m, [source.extent])}  # fmt: skip
    noted, stacks = _noted_by_linker(parties), Areas(thread_stacks(subject))
    return tuple(
        hit for hit in found.words
        if hit.at not in bound and hit.value not in parties.gates and hit.value not in noted
        and not skip.find(hit.at)
        and not stacks.find(hit.at)
        and not for_exit(memory, source.extent, hit.at)
    ), found.complete  # fmt: skip


def thread_stacks(subject: Subject) -> Iterator[Range]:
    """Those of threads, of ended ones too: what lies there is no object that lasts.

    Other memory may have a guard below it as well, and objects in it. glibc puts a thread's
    descriptor on top of its stack, whose head points to itself twice (nptl/descr.h, tcbhead_t).
    """
    maps = subject.mappings
    for index, one in enumerate(maps):
        if is_stack(maps, index):
            named = one.name.startswith(b"[stack")
            if named or _ends_in_descriptor(subject.memory, Range(one.start, one.end)):
                yield Range(one.start, one.end)


def _ends_in_descriptor(memory: Memory, stack: Range) -> bool:
    start = max(stack.start, stack.end - _DESCRIPTOR)
    try:
        words = array("Q", memory.read(start, stack.end - start))
    except MemoryUnreachable:
        return False
    heads = range(0, len(words) - _SELF, _SELF)
    return any(words[i] == words[i + _SELF] == start + 8 * i for i in heads)


def _code(subject: Subject) -> list[Range]:
    """What is executable is code, and no object: pcre2 keeps that of patterns that are gone.

    But where all that can be read can be executed, too (personality(2)), that tells nothing.
    """
    try:
        personality = int(PROC.read(subject.memory.tid, "personality"), 16)
    except OSError:
        return []
    executable = [Range(m.start, m.end) for m in subject.mappings if m.executable]
    return [] if personality & _READ_IMPLIES_EXEC else executable


def _places(parties: Parties) -> list[Range]:
    """What an object can point to: not the headers and tables that only the linker reads."""
    base = parties.source.base
    loads = parties.source.facts.image.loads
    code = SegmentFlags.X if parties.drain.code else SegmentFlags.W | SegmentFlags.X
    return [
        Range(base + s.vaddr, base + s.vaddr + s.memsz)
        for s in loads if s.flags & code or (s.vaddr and not parties.drain.code)
    ]  # fmt: skip


def _noted_by_linker(parties: Parties) -> set[int]:
    image = parties.source.facts.image
    noted = (image.segment(SegmentType.GNU_EH_FRAME), image.segment(SegmentType.DYNAMIC))
    return {parties.source.base + s.vaddr for s in noted if s is not None}


def _copied(subject: Subject, source: Module) -> Iterator[Range]:
    """Data of the library that the program has taken into its own memory (copy relocations)."""
    program = subject.modules[0]
    if program.library is None:
        return
    theirs = {n.name for n, s in source.facts.exported.items() if s.type == SymbolType.OBJECT}
    for name, place in copied_objects(program).items():
        if name in theirs:
            yield place
