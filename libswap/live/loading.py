"""Load the new library beside the old one in a process, and reserve what its swap needs there."""

import errno
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import LoadFailed
from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.signals import name_of
from libswap.live import mapped, registry
from libswap.live.calls import (
    Buffer,
    Call,
    Crashed,
    Hung,
    LeftProcess,
    Program,
    Result,
    Returned,
)
from libswap.live.choice import borrow
from libswap.live.library import Name
from libswap.live.mapped import EXECUTE, READ, error_of, gaps, whole_pages
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting
from libswap.live.remote import Borrowed
from libswap.live.runtime import (
    RTLD_DI_LMID,
    RTLD_GLOBAL,
    RTLD_NOLOAD,
    RTLD_NOW,
    Runtime,
)
from libswap.live.spelling import spelled
from libswap.live.thread import maps_through
from libswap.live.transaction import commit
from libswap.live.wanted import Loaded, Opened, Question, Request, Wanted
from libswap.live.writing import Prepared
from libswap.process.identity import Identity
from libswap.process.maps import Mapping
from libswap.process.namespaces import sees_proc

_MASK: Final = (1 << 64) - 1
HANDED_OVER: Final = "libswap-library"
"""What a file in memory is called that a process gets from us."""
_MOST_QUESTIONS: Final = 96


def load(
    identity: Identity,
    memory: ProcessMemory,
    runtime: Runtime,
    mappings: Sequence[Mapping],
    request: Request,
    *,
    wait: float,
    timeout: float,
) -> Loaded:
    """Do it on one borrowed thread; on a failure what was made is taken back.

    Args:
        identity: the process.
        memory: its memory.
        runtime: its C library.
        mappings: its mappings.
        request: what is wanted.
        wait: seconds to wait for a thread that may be borrowed.
        timeout: seconds that the library's constructors may take.

    Raises:
        LoadFailed: the dynamic linker refused, or a constructor crashed, hung or left.
        NoSafeThread: no thread could be borrowed.
        ProcessGone: it ended.
    """
    with borrow(
        identity,
        memory,
        avoid=runtime.avoid,
        deadline=time.monotonic() + wait,
        errno_location=runtime.errno_location,
        loader_locks=runtime.loader_locks,
        lift_seccomp=needs_lifting(identity.pid),
    ) as thread:
        visit = _Visit(thread, memory, runtime, request, identity.pid, timeout)
        return visit.load(mappings)


@dataclass(slots=True)
class _Visit:
    """The calls on the borrowed thread, with what must be taken back so far."""

    thread: Borrowed
    memory: ProcessMemory
    runtime: Runtime
    request: Request
    pid: int
    timeout: float
    handles: list[int] = field(default_factory=list)
    made: list[tuple[int, int]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def load(self, mappings: Sequence[Mapping]) -> Loaded:
        try:
            return self._load(mappings)
        except LoadFailed:
            self._take_back()
            raise

    def _load(self, mappings: Sequence[Mapping]) -> Loaded:
        request = self.request
        space = self._space() if request.neighbour else None
        opened = [self._library(wanted, space) for wanted in request.libraries]
        area = self._area(mappings) if request.area else 0
        record = self._record() if request.record else 0
        answered = (
            replace(one, answers=self._answers(wanted.questions, one.handle))
            for one, wanted in zip(opened, request.libraries, strict=True)
        )
        return Loaded(tuple(answered), area, record)

    def _library(self, wanted: Wanted, space: int | None) -> Opened:
        if not wanted.path:
            return Opened(wanted.handle)
        kept = self._open(wanted.keep, RTLD_NOW | RTLD_NOLOAD, space)
        self.handles.append(kept)
        flags = RTLD_NOW | (RTLD_GLOBAL if wanted.everywhere else 0)
        with self._handed_over(wanted) as path:
            handle = self._open(path, flags, space)
        self.handles.append(handle)
        self.taken.add(path)
        return Opened(handle, kept, path=wanted.path)

    def _answers(self, questions: Sequence[Question], handle: int) -> dict[Name, tuple[int, int]]:
        answers: dict[Name, tuple[int, int]] = {}
        for start in range(0, len(questions), _MOST_QUESTIONS):
            answers |= self._ask(questions[start : start + _MOST_QUESTIONS], handle)
        return answers

    def _open(self, path: str, flags: int, space: int | None) -> int:
        name = os.fsencode(path)
        if space is None:
            opening = Call(self.runtime.dlopen, (name, flags))
        else:
            opening = Call(self.runtime.dlmopen, (space, name, flags))
        program: Program = [opening]
        if self.runtime.dlerror:
            program.append(Call(self.runtime.dlerror, (), unless=Result(0)))
        returned = self._run(program, path, strings=(1,) if len(program) == 2 else ())
        if returned.results[0] == 0:
            words = returned.strings.get(1, b"the dynamic linker gives no reason")
            raise LoadFailed(self.pid, path, words.decode("utf-8", "surrogateescape"))
        return returned.results[0]

    @contextmanager
    def _handed_over(self, wanted: Wanted) -> Iterator[str]:
        """The path to load from: the file's, or that of a memfd in the process with its bytes."""
        taken = self.request.taken | self.taken
        if wanted.content is None:
            yield spelled(wanted.path, taken)
            return
        if not sees_proc(self.pid):
            reason = "it cannot reach it, and has no /proc in its root through which to get it"
            raise LoadFailed(self.pid, wanted.path, reason)
        made = self._run([mapped.file_in_memory(HANDED_OVER.encode())], "").results[0]
        if error := error_of(made):
            raise LoadFailed(self.pid, wanted.path, f"memfd_create: {os.strerror(error)}")
        try:
            Path(f"/proc/{self.pid}/fd/{made}").write_bytes(wanted.content)
            yield spelled(f"/proc/self/fd/{made}", taken)
        except OSError as error:
            raise LoadFailed(self.pid, wanted.path, f"handing it over: {error}") from None
        finally:
            self._run([mapped.close(made)], "")

    def _space(self) -> int:
        """The id of the namespace (LM_ID_*) that the copy in use lives in."""
        call = Call(self.runtime.dlinfo, (self.request.neighbour, RTLD_DI_LMID, Buffer(8)))
        return int.from_bytes(self._run([call], "").buffers[0], "little")

    def _ask(self, questions: Sequence[Question], handle: int) -> dict[Name, tuple[int, int]]:
        """Call the resolvers, as the dynamic linker does (no arguments on x86-64)."""
        (base,) = struct.unpack("<Q", self.memory.read(handle, 8))  # l_addr
        calls: Program = [
            Call(resolver) for q in questions for resolver in (q.old, (base + q.new) & _MASK)
        ]
        results = self._run(calls, "").results
        pairs = zip(results[::2], results[1::2], strict=True)
        return {q.name: pair for q, pair in zip(questions, pairs, strict=True) if all(pair)}

    def _area(self, mappings: Sequence[Mapping]) -> int:
        size = whole_pages(self.request.area)
        for place in gaps(mappings, self.request.near, size):
            got = self._run([mapped.anonymous(place, size, READ | EXECUTE)], "").results[0]
            error = error_of(got)
            if not error:
                self.made.append((got, size))
            if got == place:
                return place
            if error not in (0, errno.EEXIST):
                break
        raise LoadFailed(self.pid, self._path, "no executable memory near the old library")

    def _record(self) -> int:
        size = whole_pages(self.request.record)
        at = self._run(mapped.named(registry.NAME, size), "").results[2]
        if error := error_of(at):
            reason = os.strerror(error)
            raise LoadFailed(self.pid, self._path, f"no memory for the record: {reason}")
        self.made.append((at, size))
        return at

    def _take_back(self) -> None:
        """Close and unmap; what a crashed constructor left behind stays."""
        program: Program = [Call(self.runtime.dlclose, (h,)) for h in reversed(self.handles)]
        program += mapped.unmap(self.made)
        if program:
            self.thread.run(program, timeout=self.timeout)

    @property
    def _path(self) -> str:
        """What to name where no single library is meant."""
        return next((w.path for w in self.request.libraries if w.path), "")

    def _run(self, program: Program, path: str, strings: Sequence[int] = ()) -> Returned:
        outcome = self.thread.run(program, timeout=self.timeout, read_strings=strings)
        if isinstance(outcome, Returned):
            return outcome
        raise LoadFailed(self.pid, path or self._path, _words(outcome, self.timeout))


def unload(
    identity: Identity,
    memory: ProcessMemory,
    runtime: Runtime,
    request: Request,
    there: Loaded,
    *,
    wait: float,
    more: Sequence[tuple[int, int]] = (),
) -> None:
    """Take back what `load` did, and other memory, where the swap came to nothing.

    Where that is not possible now, the copy stays loaded: it takes memory, and nobody reaches it
    but threads that its constructors have made.
    """
    opened = [
        one for one, wanted in zip(there.libraries, request.libraries, strict=True) if wanted.path
    ]  # fmt: skip
    handles = [h for one in opened for h in (one.kept, one.handle)]
    program: Program = [Call(runtime.dlclose, (h,)) for h in reversed(handles)]
    made = (there.area, request.area), (there.record, request.record), *more
    program += mapped.unmap((at, whole_pages(size)) for at, size in made if at)
    with suppress(LibswapError):
        _require_unused(identity, memory, [one.handle for one in opened], wait)
        with borrow(
            identity,
            memory,
            avoid=runtime.avoid,
            deadline=time.monotonic() + wait,
            errno_location=runtime.errno_location,
            loader_locks=runtime.loader_locks,
            lift_seccomp=needs_lifting(identity.pid),
        ) as thread:
            thread.run(program, timeout=wait)


def _require_unused(
    identity: Identity, memory: ProcessMemory, handles: Sequence[int], wait: float
) -> None:
    """Make sure that no thread runs in copies that nobody was given.

    Raises:
        LibswapError: one does, or that cannot be found out.
    """
    maps = maps_through(identity.pid)
    bases = [struct.unpack("<Q", memory.read(h, 8))[0] for h in handles]  # l_addr
    files = {m[3:6] for m in maps for base in bases if m.start <= base < m.end}
    own = [m for m in maps if m[3:6] in files and m.executable]
    code = tuple(Forbidden(Range(m.start, m.end), "the new copy") for m in own)
    commit(identity, memory, Prepared((), code), wait=wait)


def _words(outcome: Crashed | Hung | LeftProcess, timeout: float) -> str:
    match outcome:
        case Crashed(signo=signo, address=address):
            return f"its constructor raised {name_of(signo)} at {address:#x}"
        case Hung():
            return f"its constructor did not come back within {timeout:g} s"
        case LeftProcess():
            return "its constructor tried to end the process"
