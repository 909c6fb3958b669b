"""The search of a stopped process for anything that still points into a copy of a library."""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from libswap.elf.format import SegmentFlags, SegmentType
from libswap.errors.process import MemoryUnreachable
from libswap.linux import ptrace
from libswap.linux.memory import Range
from libswap.linux.procfs import PROC
from libswap.linux.tracer import unbroken
from libswap.live.module import Module
from libswap.live.registry import CopyRecord
from libswap.live.stacks import Areas, Hit
from libswap.live.subject import Subject
from libswap.live.thread import Thread
from libswap.live.tracee import Tracee
from libswap.process.maps import Mapping

MOST_SEARCHED: Final = 64 << 20
"""Bytes; the process stands still while they are searched."""
_DEAD_ZONE: Final = 128
_PAGE: Final = 4096
_CHUNK: Final = 1 << 20
_TO_STOP_ALL: Final = 0.25
_SHOWN: Final = 5
_OF_FILE: Final = 1 << 61
_PRESENT: Final = 1 << 63
_HERE: Final = 0b11 << 62
"""pagemap: of a file, or shared; present; or swapped out (admin-guide/mm/pagemap.rst)."""


class Reached(Exception):
    """Something reaches the copy, or it cannot be known that nothing does."""

    def __init__(self, *reasons: str) -> None:
        """Take the reasons, each a text."""
        super().__init__(*reasons)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Search:
    """The search for one copy.

    Attributes:
        subject: the process.
        copy: what its record says of the copy.
        module: where it is loaded.
    """

    subject: Subject
    copy: CopyRecord
    module: Module

    @property
    def areas(self) -> Areas:
        """Where a pointer would matter: not the headers and tables that only the linker reads."""
        base = self.module.base
        parts = [
            Range(base + s.vaddr, base + s.vaddr + s.memsz)
            for s in self.module.facts.image.loads
            if s.flags & (SegmentFlags.W | SegmentFlags.X) or s.vaddr
        ]
        gates = Range(self.copy.area, self.copy.area + self.copy.area_size)
        return Areas([*parts, gates])

    def run(self) -> float:
        """Search everything while every thread stands still.

        Returns:
            seconds that it stood.

        Raises:
            Reached: something was found.
        """
        subject = self.subject.again()
        with unbroken(), Tracee.seize(subject.identity) as tracee:
            began = time.perf_counter()
            tracee.stop(time.monotonic() + _TO_STOP_ALL)
            threads = list(tracee.threads.values())
            hits = [h for t in threads for h in self._in_registers(t)]
            subject = replace(subject, mappings=self.subject.again().mappings)
            skip = self._skipped(subject, threads)
            parts = list(_written(subject.mappings, subject.identity.pid, skip))
            if sum(p.size for p in parts) > MOST_SEARCHED:
                raise Reached(f"there are more than {MOST_SEARCHED >> 20} MiB to search")
            hits += [h for part in parts for h in self._in(part)]
            tracee.detach()
        seconds = time.perf_counter() - began
        hits = [h for h in hits if not self._is_linkers(h)]
        if hits:
            more = [f"and {len(hits) - _SHOWN} more"] if len(hits) > _SHOWN else []
            raise Reached(*(self._named(subject, h) for h in hits[:_SHOWN]), *more)
        return seconds

    def _in_registers(self, thread: Thread) -> list[Hit]:
        kinds = (ptrace.RegisterSet.PRSTATUS, ptrace.RegisterSet.X86_XSTATE)
        found = [h for k in kinds for h in self.areas.hits(
            ptrace.registers(thread.tid, k), 0, aligned=False)]  # fmt: skip
        return [h._replace(at=-thread.tid) for h in found]

    def _in(self, part: Range) -> Iterator[Hit]:
        areas = self.areas
        for start in range(part.start, part.end, _CHUNK):
            size = min(_CHUNK + 8, part.end - start)
            try:
                yield from areas.hits(self.subject.memory.read(start, size), start, aligned=False)
            except MemoryUnreachable:
                raise Reached(f"memory at {start:#x} cannot be read") from None

    def _skipped(self, subject: Subject, threads: Sequence[Thread]) -> list[Range]:
        """The copy itself, its gates, its link map, and the dead part of stacks."""
        chunk = int.from_bytes(subject.memory.read(self.copy.link - 8, 8), "little") & ~0xF
        if not 0x300 <= chunk <= 0x2000:
            raise Reached("the C library keeps its link map in an unknown way")
        gates = Range(self.copy.area, self.copy.area + self.copy.area_size)
        dead = [d for t in threads if (d := _dead(subject.mappings, t.registers.rsp)) is not None]
        link = Range(self.copy.link, self.copy.link + chunk - 8)
        return [self.module.extent, gates, link, *dead]

    def _is_linkers(self, hit: Hit) -> bool:
        """What the dynamic linker notes of every library: its unwind table and dynamic section."""
        image = self.module.facts.image
        noted = (image.segment(SegmentType.GNU_EH_FRAME), image.segment(SegmentType.DYNAMIC))
        return hit.value in {self.module.base + s.vaddr for s in noted if s is not None}

    def _named(self, subject: Subject, hit: Hit) -> str:
        into = self._symbol(hit.value - self.module.base)
        if hit.at < 0:
            return f"a register of thread {-hit.at} holds {hit.value:#x}{into}"
        where = next((m for m in subject.mappings if m.start <= hit.at < m.end), None)
        name = where.name.decode("utf-8", "backslashreplace") if where else ""
        return f"the word at {hit.at:#x} ({name or 'anonymous memory'}) holds {hit.value:#x}{into}"

    def _symbol(self, address: int) -> str:
        known = [s for s in self.module.facts.symbols if s.defined and s.value <= address]
        best = max(known, key=lambda s: s.value, default=None)
        return f" ({best.name}+{address - best.value:#x})" if best else ""


def handed_to_kernel(pid: int) -> Iterator[tuple[int, str]]:
    """Numbers that processes leave with the kernel, to be given back: epoll_ctl(2), timers.

    Raises:
        Reached: it cannot be known, because the process uses io_uring.
    """
    for line in PROC.read(pid, "timers").splitlines():
        if line.startswith(b"signal:"):
            yield int(line.rpartition(b"/")[2], 16), "a timer"
    for descriptor in Path(PROC.path(pid, "fdinfo")).iterdir():
        try:
            link = (Path(PROC.path(pid, "fd")) / descriptor.name).readlink()
            if "io_uring" in link.name:
                raise Reached("the process uses io_uring, which holds addresses")
            lines = descriptor.read_bytes().splitlines() if "eventpoll" in link.name else []
        except FileNotFoundError:
            continue
        for line in lines:
            words = line.split()
            if b"data:" in words:
                yield int(words[words.index(b"data:") + 1], 16), "an epoll instance"


def _dead(mappings: Sequence[Mapping], stack_pointer: int) -> Range | None:
    """The part of a thread's stack below its stack pointer and red zone."""
    below = None
    for mapping in mappings:
        if mapping.start <= stack_pointer < mapping.end:
            guarded = below is not None and below.end == mapping.start and not below.readable
            if mapping.name == b"[stack]" or guarded:
                return Range(mapping.start, max(mapping.start, stack_pointer - _DEAD_ZONE))
            return None
        below = mapping
    return None


def _written(mappings: Sequence[Mapping], pid: int, skip: Sequence[Range]) -> Iterator[Range]:
    """What is in memory that is not just the bytes of a file, whatever its protection is."""
    left = 2 * MOST_SEARCHED
    with open(PROC.path(pid, "pagemap"), "rb", buffering=0) as pagemap:  # noqa: PTH123
        for mapping in mappings:
            if mapping.name.startswith(b"[v") or mapping.start >> 47:
                continue
            whole = Range(mapping.start, mapping.end)
            if mapping.shared:
                found = [whole]
            else:
                pagemap.seek(mapping.start // _PAGE * 8)
                found = list(_pages(whole, pagemap))
            for part in found:
                left -= part.size
                if left < 0:
                    raise Reached(f"there are more than {MOST_SEARCHED >> 20} MiB to search")
                yield from _without_parts(part, skip)


def _pages(whole: Range, pagemap: BinaryIO) -> Iterator[Range]:
    at = begin = whole.start
    while at < whole.end:
        data = pagemap.read(min(_CHUNK, (whole.end - at) // _PAGE * 8))
        if not data:
            raise Reached("its page map cannot be read")
        for (entry,) in struct.iter_unpack("<Q", data):
            if not entry & _HERE or (entry & _PRESENT and entry & _OF_FILE):
                if begin < at:
                    yield Range(begin, at)
                begin = at + _PAGE
            at += _PAGE
    if begin < at:
        yield Range(begin, at)


def _without_parts(part: Range, skip: Sequence[Range]) -> Iterator[Range]:
    pieces = [part]
    for hole in skip:
        pieces = [
            p
            for whole in pieces
            for p in (
                Range(whole.start, min(whole.end, hole.start)),
                Range(max(whole.start, hole.end), whole.end),
            )
            if p.start < p.end
        ]
    return iter(pieces)
