"""Unload a copy of a library that nothing can reach any more, or say what still reaches it."""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from libswap.elf.image import SegmentFlags, SegmentType
from libswap.errors.base import LibswapError
from libswap.errors.process import MemoryUnreachable
from libswap.linux import ptrace
from libswap.linux.memory import Range
from libswap.linux.procfs import PROC
from libswap.live import plan
from libswap.live.calls import Buffer, Call, Program, Returned, SystemCall
from libswap.live.choice import borrow
from libswap.live.module import Module
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting
from libswap.live.registry import CopyRecord, Family, Place, Record
from libswap.live.runtime import RTLD_NOLOAD, RTLD_NOW, runtime_of
from libswap.live.stacks import Areas, Hit
from libswap.live.subject import Subject
from libswap.live.thread import Thread
from libswap.live.tracee import Tracee
from libswap.live.transaction import Prepared, Write, commit
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
_RT_SIGACTION: Final = 13
_MUNMAP: Final = 11
_SIGNALS: Final = 64
_HANDS_OVER: Final = frozenset({"sigaltstack", "syscall"})
"""What gives the kernel addresses that nobody can ask for."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """It is gone.

    Attributes:
        path: of its file.
        build_id: of its file.
        base: where it was.
        stopped_for: seconds that the process stood still for the search.
    """

    path: str
    build_id: str
    base: int
    stopped_for: float


@dataclass(frozen=True, slots=True)
class Kept:
    """It stays loaded.

    Attributes:
        path: of its file.
        build_id: of its file.
        base: where it is.
        reasons: what reaches it, or why that cannot be known.
    """

    path: str
    build_id: str
    base: int
    reasons: tuple[str, ...]


def unload_unused(subject: Subject, *, wait: float) -> Iterator[Unloaded | Kept]:
    """Unload every copy that is not in use, libswap loaded itself, and nothing reaches.

    Raises:
        ProcessGone: it ended.
    """
    record = subject.place.record if subject.place else Record()
    for index, family in enumerate(record.families):
        for copy in family.copies:
            if copy != family.copies[family.current]:
                subject = subject.again()
                module = _module(subject, copy)
                if module is not None:
                    yield _one(subject, index, copy, module, wait)


def _module(subject: Subject, copy: CopyRecord) -> Module | None:
    return next(
        (m for m in subject.modules if m.library is not None and m.base == copy.base
         and m.link.address == copy.link and m.facts.build_id == copy.build_id), None,
    )  # fmt: skip


def _one(
    subject: Subject, index: int, copy: CopyRecord, module: Module, wait: float
) -> Unloaded | Kept:
    kept = Kept(copy.path, copy.build_id, copy.base, ())
    try:
        return _Unloading(subject, index, copy, module, wait).run()
    except _Reached as found:
        return replace(kept, reasons=found.reasons)
    except LibswapError as error:
        return replace(kept, reasons=(error.message,))


class _Reached(Exception):
    """Something reaches the copy, or it cannot be known that nothing does."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class _Unloading:
    subject: Subject
    family: int
    copy: CopyRecord
    module: Module
    wait: float

    def run(self) -> Unloaded:
        """Look at what the copy is, what the kernel holds, all memory, the kernel again; then go.

        The kernel is asked before and after: what it held in between was in memory at one of them.
        """
        self._require_kind()
        self._require_settled()
        self._require_kernel_free()
        seconds = self._search()
        self._require_kernel_free()
        given_back, place = self._give_back()
        runtime = runtime_of(self.subject.modules)
        self._borrowed([Call(runtime.dlclose, (self.copy.link,)) for _ in range(self._held())])
        if self.subject.again().module_at(self.copy.link) is not None:
            self._take_again(given_back, place)
            raise _Reached("the program has opened it too, and holds it")
        if self.copy.area:
            self._borrowed([SystemCall(_MUNMAP, (self.copy.area, self.copy.area_size))])
        return Unloaded(self.copy.path, self.copy.build_id, self.copy.base, seconds)

    # What can be known without a search

    def _require_kind(self) -> None:
        record, base = self._record, self.copy.base
        first = next((e for e in record.events if e.new_base == base), None)
        if first is None or self.copy == record.families[self.family].copies[0]:
            raise _Reached("the program loaded it, and holds it")
        if record.pending or record.patches or record.switch:
            raise _Reached("a swap is unfinished, or the process carries function patches")
        if self.module.facts.tls is not None:
            raise _Reached("it has thread-local variables")
        handed = _HANDS_OVER & {s.name for s in self.module.facts.symbols if not s.defined}
        if handed:
            raise _Reached(f"it calls {', '.join(sorted(handed))}, which can give addresses away")

    def _require_settled(self) -> None:
        """The entries of all other copies lead past this one."""
        current = self._record.families[self.family]
        used = current.copies[current.current].base
        last = next((e for e in reversed(self._record.events) if e.new_base == used), None)
        if last is None or last.state != "done":
            raise _Reached("the last swap has not been settled: its calls go through gates")
        for other in current.copies:
            if other == self.copy or _module(self.subject, other) is None:
                continue
            for gate in other.gates:
                at = other.base + gate.entry
                found = self.subject.memory.read(at, 5)
                (distance,) = struct.unpack("<i", found[1:])
                if found[0] == 0xE9 and self._areas().find(at + 5 + distance):
                    raise _Reached(f"the jump at {at:#x}")

    def _require_kernel_free(self) -> None:
        areas, pid = self._areas(), self.subject.identity.pid
        for number, text in _handed_to_kernel(pid):
            if areas.find(number):
                raise _Reached(f"{text} holds {number:#x}")
        program: Program = [
            SystemCall(_RT_SIGACTION, (number, 0, Buffer(32), 8))
            for number in range(1, _SIGNALS + 1)
        ]
        for number, content in enumerate(self._borrowed(program).buffers, 1):
            handler, _, restorer, _ = struct.unpack("<4Q", content)
            if areas.find(handler) or areas.find(restorer):
                raise _Reached(f"the handler of signal {number} is in it")

    # The search

    def _areas(self) -> Areas:
        """Where a pointer would matter: not the headers and tables that only the linker reads."""
        base = self.module.base
        parts = [
            Range(base + s.vaddr, base + s.vaddr + s.memsz)
            for s in self.module.facts.image.loads
            if s.flags & (SegmentFlags.W | SegmentFlags.X) or s.vaddr
        ]
        gates = Range(self.copy.area, self.copy.area + self.copy.area_size)
        return Areas([*parts, gates])

    def _search(self) -> float:
        """Search everything while every thread stands still.

        Returns:
            seconds that it stood.
        """
        subject = self.subject.again()
        with Tracee.seize(subject.identity) as tracee:
            began = time.perf_counter()
            tracee.stop(time.monotonic() + _TO_STOP_ALL)
            threads = list(tracee.threads.values())
            hits = [h for t in threads for h in self._in_registers(t)]
            subject = replace(subject, mappings=self.subject.again().mappings)
            skip = self._skipped(subject, threads)
            parts = list(_written(subject.mappings, subject.identity.pid, skip))
            if sum(p.size for p in parts) > MOST_SEARCHED:
                raise _Reached(f"there are more than {MOST_SEARCHED >> 20} MiB to search")
            hits += [h for part in parts for h in self._in(part)]
            tracee.detach()
        seconds = time.perf_counter() - began
        hits = [h for h in hits if not self._is_linkers(h)]
        if hits:
            more = [f"and {len(hits) - _SHOWN} more"] if len(hits) > _SHOWN else []
            raise _Reached(*(self._named(subject, h) for h in hits[:_SHOWN]), *more)
        return seconds

    def _in_registers(self, thread: Thread) -> list[Hit]:
        kinds = (ptrace.RegisterSet.PRSTATUS, ptrace.RegisterSet.X86_XSTATE)
        found = [h for k in kinds for h in self._areas().hits(
            ptrace.registers(thread.tid, k), 0, aligned=False)]  # fmt: skip
        return [h._replace(at=-thread.tid) for h in found]

    def _in(self, part: Range) -> Iterator[Hit]:
        areas = self._areas()
        for start in range(part.start, part.end, _CHUNK):
            size = min(_CHUNK + 8, part.end - start)
            try:
                yield from areas.hits(self.subject.memory.read(start, size), start, aligned=False)
            except MemoryUnreachable:
                raise _Reached(f"memory at {start:#x} cannot be read") from None

    def _skipped(self, subject: Subject, threads: Sequence[Thread]) -> list[Range]:
        """The copy itself, its gates, its link map, and the dead part of stacks."""
        chunk = int.from_bytes(subject.memory.read(self.copy.link - 8, 8), "little") & ~0xF
        if not 0x300 <= chunk <= 0x2000:
            raise _Reached("the C library keeps its link map in an unknown way")
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

    # The end of it

    def _give_back(self) -> tuple[tuple[tuple[Write, ...], ...], Place]:
        """Its entries and symbols as its file has them, and the record without it.

        Nobody sees the difference; if we are killed here, it can be loaded again as any other.

        Returns:
            what was written, and the record's place now.
        """
        place, memory = self.subject.place, self.subject.memory
        assert place is not None  # noqa: S101  the copy was read from it
        again = tuple(
            Write(at, memory.read(at, len(old)), old)
            for g in self.copy.gates
            for at, old in [(self.copy.base + g.entry, bytes.fromhex(g.original))]
        )
        symbols = plan.own_symbol_writes(memory, self.module)
        after, done = place.writes(self._without())
        phases = tuple(p for p in (again, symbols) if p)
        self._commit(phases, done)
        return phases, after

    def _take_again(self, phases: Sequence[Sequence[Write]], place: Place) -> None:
        """As it was before; by its name the dynamic linker finds the copy itself."""
        runtime = runtime_of(self.subject.modules)
        name = self.module.link.name.encode("utf-8", "surrogateescape")
        opening = Call(runtime.dlopen, (name, RTLD_NOW | RTLD_NOLOAD))
        self._borrowed([opening] * self._held())
        back = tuple(tuple(Write(w.address, w.new, w.old) for w in p) for p in phases)
        _, done = place.writes(self._record)
        self._commit(back, done)

    def _commit(self, phases: tuple[tuple[Write, ...], ...], done: Write) -> None:
        forbidden = tuple(Forbidden(r, self.copy.path) for r in self._areas().ranges)
        prepared = Prepared(phases, forbidden, (), (done,))
        commit(self.subject.identity, self.subject.memory, prepared, wait=self.wait)

    def _without(self) -> Record:
        record, base = self._record, self.copy.base
        family = record.families[self.family]
        used = family.copies[family.current]
        copies = tuple(c for c in family.copies if c != self.copy)
        left, _ = record.with_family(self.family, Family(copies, copies.index(used)))
        events = tuple(
            replace(e, old_base=e.old_base * (e.old_base != base),
                    new_base=e.new_base * (e.new_base != base)) for e in record.events
        )  # fmt: skip
        return replace(left, events=events)

    def _held(self) -> int:
        """One for having loaded it, one for each copy that was loaded while it was in use."""
        firsts: dict[int, int] = {}
        for event in self._record.events:
            firsts.setdefault(event.new_base, event.old_base)
        others = [c.base for c in self._record.families[self.family].copies if c != self.copy]
        return 1 + sum(firsts.get(base) == self.copy.base for base in others)

    def _borrowed(self, program: Program) -> Returned:
        subject = self.subject
        runtime = runtime_of(subject.modules)
        with borrow(
            subject.identity, subject.memory, avoid=runtime.avoid,
            deadline=time.monotonic() + self.wait, errno_location=runtime.errno_location,
            loader_locks=runtime.loader_locks, lift_seccomp=needs_lifting(subject.identity.pid),
        ) as thread:  # fmt: skip
            outcome = thread.run(program, timeout=self.wait)
        if not isinstance(outcome, Returned):
            raise _Reached("its destructors did not come back")
        return outcome

    @property
    def _record(self) -> Record:
        assert self.subject.place is not None  # noqa: S101  the copy was read from it
        return self.subject.place.record


def _handed_to_kernel(pid: int) -> Iterator[tuple[int, str]]:
    """Numbers that processes leave with the kernel, to be given back: epoll_ctl(2), timers."""
    for line in PROC.read(pid, "timers").splitlines():
        if line.startswith(b"signal:"):
            yield int(line.rpartition(b"/")[2], 16), "a timer"
    for descriptor in Path(PROC.path(pid, "fdinfo")).iterdir():
        try:
            link = (Path(PROC.path(pid, "fd")) / descriptor.name).readlink()
            if "io_uring" in link.name:
                raise _Reached("the process uses io_uring, which holds addresses")
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
                    raise _Reached(f"there are more than {MOST_SEARCHED >> 20} MiB to search")
                yield from _without_parts(part, skip)


def _pages(whole: Range, pagemap: BinaryIO) -> Iterator[Range]:
    at = begin = whole.start
    while at < whole.end:
        data = pagemap.read(min(_CHUNK, (whole.end - at) // _PAGE * 8))
        if not data:
            raise _Reached("its page map cannot be read")
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
