"""Unload a copy of a library that nothing can reach any more, or say what still reaches it."""

import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from libswap.errors.base import LibswapError
from libswap.live import mapped
from libswap.live.calls import Buffer, Call, Program, Returned, SystemCall
from libswap.live.choice import borrow
from libswap.live.leading import own_symbol_writes
from libswap.live.module import Module
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting
from libswap.live.registry import CopyRecord, Family, Place, Record
from libswap.live.runtime import RTLD_NOLOAD, RTLD_NOW, runtime_of
from libswap.live.search import Reached, Search, handed_to_kernel
from libswap.live.subject import Subject
from libswap.live.transaction import commit
from libswap.live.writing import Prepared, Write

_RT_SIGACTION: Final = 13
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
    record = subject.record
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
    except Reached as found:
        return replace(kept, reasons=found.reasons)
    except LibswapError as error:
        return replace(kept, reasons=(error.message,))


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
        seconds = self._search.run()
        self._require_kernel_free()
        given_back, place = self._give_back()
        runtime = runtime_of(self.subject.modules)
        self._borrowed([Call(runtime.dlclose, (self.copy.link,)) for _ in range(self._held())])
        if self.subject.again().module_at(self.copy.link) is not None:
            self._take_again(given_back, place)
            raise Reached("the program has opened it too, and holds it")
        if self.copy.area:
            self._borrowed(mapped.unmap([(self.copy.area, self.copy.area_size)]))
        return Unloaded(self.copy.path, self.copy.build_id, self.copy.base, seconds)

    # What can be known without a search

    def _require_kind(self) -> None:
        record, base = self._record, self.copy.base
        first = next((e for e in record.events if e.new_base == base), None)
        if first is None or self.copy == record.families[self.family].copies[0]:
            raise Reached("the program loaded it, and holds it")
        if record.pending or record.patches or record.switch:
            raise Reached("a swap is unfinished, or the process carries function patches")
        if record.drain_of(base) is not None:
            raise Reached("it is being drained")
        if self.module.facts.tls is not None:
            raise Reached("it has thread-local variables")
        handed = _HANDS_OVER & {s.name for s in self.module.facts.symbols if not s.defined}
        if handed:
            raise Reached(f"it calls {', '.join(sorted(handed))}, which can give addresses away")

    def _require_settled(self) -> None:
        """The entries of all other copies lead past this one."""
        current = self._record.families[self.family]
        used = current.copies[current.current].base
        last = next((e for e in reversed(self._record.events) if e.new_base == used), None)
        if last is None or last.state != "done":
            raise Reached("the last swap has not been settled: its calls go through gates")
        for other in current.copies:
            if other == self.copy or _module(self.subject, other) is None:
                continue
            for gate in other.gates:
                at = other.base + gate.entry
                found = self.subject.memory.read(at, 5)
                (distance,) = struct.unpack("<i", found[1:])
                if found[0] == 0xE9 and self._search.areas.find(at + 5 + distance):
                    raise Reached(f"the jump at {at:#x}")

    def _require_kernel_free(self) -> None:
        areas, pid = self._search.areas, self.subject.identity.pid
        for number, text in handed_to_kernel(pid):
            if areas.find(number):
                raise Reached(f"{text} holds {number:#x}")
        program: Program = [
            SystemCall(_RT_SIGACTION, (number, 0, Buffer(32), 8))
            for number in range(1, _SIGNALS + 1)
        ]
        for number, content in enumerate(self._borrowed(program).buffers, 1):
            handler, _, restorer, _ = struct.unpack("<4Q", content)
            if areas.find(handler) or areas.find(restorer):
                raise Reached(f"the handler of signal {number} is in it")

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
        symbols = own_symbol_writes(memory, self.module)
        after, done = place.writes(self._without())
        phases = tuple(p for p in (again, symbols) if p)
        self._commit(phases, done)
        return phases, after

    def _take_again(self, phases: Sequence[Sequence[Write]], place: Place) -> None:
        """As it was before; by its name the dynamic linker finds the copy itself."""
        runtime = runtime_of(self.subject.modules)
        name = os.fsencode(self.module.link.name)
        opening = Call(runtime.dlopen, (name, RTLD_NOW | RTLD_NOLOAD))
        self._borrowed([opening] * self._held())
        back = tuple(tuple(Write(w.address, w.new, w.old) for w in p) for p in phases)
        _, done = place.writes(self._record)
        self._commit(back, done)

    def _commit(self, phases: tuple[tuple[Write, ...], ...], done: Write) -> None:
        forbidden = tuple(Forbidden(r, self.copy.path) for r in self._search.areas.ranges)
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
            raise Reached("its destructors did not come back")
        return outcome

    @property
    def _search(self) -> Search:
        return Search(self.subject, self.copy, self.module)

    @property
    def _record(self) -> Record:
        assert self.subject.place is not None  # noqa: S101  the copy was read from it
        return self.subject.place.record
