"""Words that point into the old copy, of which every object of some libraries holds one."""

from collections.abc import Iterator, Sequence
from typing import Final

from libswap.elf.format import SegmentFlags, SegmentType
from libswap.elf.symbols import SymbolType
from libswap.linux.memory import Range
from libswap.linux.procfs import PROC
from libswap.live.draining import table
from libswap.live.draining.parties import Parties
from libswap.live.got import copied_objects, slots
from libswap.live.module import Module
from libswap.live.outlook import for_exit
from libswap.live.reach import reach
from libswap.live.stacks import Areas, Hit
from libswap.live.subject import Subject
from libswap.live.thread_stacks import thread_stacks

_LARGEST_LINK_MAP: Final = 0x2000
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
    noted, stacks = _noted_by_linker(parties), Areas(thread_stacks(memory, subject.mappings))
    return tuple(
        hit for hit in found.words
        if hit.at not in bound and hit.value not in parties.gates and hit.value not in noted
        and not skip.find(hit.at)
        and not stacks.find(hit.at)
        and not for_exit(memory, source.extent, hit.at)
    ), found.complete  # fmt: skip


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
