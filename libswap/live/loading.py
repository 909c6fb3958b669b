"""Load the new library beside the old one in a process, and reserve what its swap needs there."""

import errno
import os
import signal
import struct
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import LoadFailed
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.calls import (
    Buffer,
    Call,
    Crashed,
    Hung,
    LeftProcess,
    Program,
    Result,
    Returned,
    SystemCall,
)
from libswap.live.choice import borrow
from libswap.live.library import Name
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
from libswap.live.thread import maps_through
from libswap.live.transaction import commit
from libswap.live.writing import Prepared
from libswap.process.identity import Identity
from libswap.process.maps import Mapping

_MMAP: Final = 9
_MUNMAP: Final = 11
_CLOSE: Final = 3
_FTRUNCATE: Final = 77
_MEMFD_CREATE: Final = 319
_READ: Final = 1
_READ_EXECUTE: Final = 5
_PRIVATE: Final = 0x02
_PRIVATE_ANONYMOUS: Final = 0x22
_FIXED_NOREPLACE: Final = 0x100000
_CLOEXEC: Final = 1
_REACH: Final = 1 << 30
_PAGE: Final = 4096
_MASK: Final = (1 << 64) - 1
HANDED_OVER: Final = "libswap-library"
"""What a file in memory is called that a process gets from us."""
_MOST_QUESTIONS: Final = 96


@dataclass(frozen=True, slots=True)
class Question:
    """An exported name whose address only a resolver knows (STT_GNU_IFUNC).

    Attributes:
        name: the symbol.
        old: address of its resolver in the copy in use.
        new: virtual address of its resolver in the new file.
    """

    name: Name
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """One library that is to be there.

    Attributes:
        path: of the file as the process sees it; "" where it is loaded already.
        keep: l_name of the copy in use, of which a reference is taken so that it stays.
        content: what the process gets in memory instead of the file.
        everywhere: whether later modules may bind to what only the new library has.
        questions: what to ask resolvers.
        handle: the copy to move to, where it is loaded already.
    """

    path: str
    keep: str
    content: bytes | None = field(default=None, repr=False)
    everywhere: bool = False
    questions: tuple[Question, ...] = ()
    handle: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted in the process.

    Attributes:
        libraries: in the order in which they are loaded.
        near: the extents of the copies in use and what lies between them.
        neighbour: the handle of a copy in use, where its namespace is not the first.
        area: bytes of executable memory near `near`; 0 for none.
        record: bytes for a new record; 0 where there is one that is large enough.
        taken: names that the dynamic linker has given to what it loaded.
    """

    libraries: tuple[Wanted, ...]
    near: Range
    neighbour: int = 0
    area: int = 0
    record: int = 0
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Opened:
    """One library that is there now.

    Attributes:
        handle: of the new copy: the address of its link map.
        kept: the handle by which the copy in use is kept; 0 where it was not asked for.
        answers: for each question the address in the old copy and in the new one.
        path: of its file; "" where it was loaded already.
    """

    handle: int
    kept: int = 0
    answers: dict[Name, tuple[int, int]] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is now.

    Attributes:
        libraries: as they were asked for.
        area: address of the executable memory, 0 for none.
        record: address of the mapping for the record, 0 for none.
    """

    libraries: tuple[Opened, ...]
    area: int = 0
    record: int = 0


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
        made = self._run([SystemCall(_MEMFD_CREATE, (HANDED_OVER.encode(), _CLOEXEC))], "").results[
            0
        ]
        if _failed(made):
            raise LoadFailed(self.pid, wanted.path, f"memfd_create: {os.strerror(_errno(made))}")
        try:
            Path(f"/proc/{self.pid}/fd/{made}").write_bytes(wanted.content)
            yield spelled(f"/proc/self/fd/{made}", taken)
        except OSError as error:
            raise LoadFailed(self.pid, wanted.path, f"handing it over: {error}") from None
        finally:
            self._run([SystemCall(_CLOSE, (made,))], "")

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
        size = _pages(self.request.area)
        for place in gaps(mappings, self.request.near, size):
            flags = _PRIVATE_ANONYMOUS | _FIXED_NOREPLACE
            call = SystemCall(_MMAP, (place, size, _READ_EXECUTE, flags, (1 << 64) - 1, 0))
            got = self._run([call], "").results[0]
            if not _failed(got):
                self.made.append((got, size))
            if got == place:
                return place
            if _failed(got) and _errno(got) != errno.EEXIST:
                break
        raise LoadFailed(self.pid, self._path, "no executable memory near the old library")

    def _record(self) -> int:
        size = _pages(self.request.record)
        program: Program = [
            SystemCall(_MEMFD_CREATE, (b"libswap", _CLOEXEC)),
            SystemCall(_FTRUNCATE, (Result(0), size)),
            SystemCall(_MMAP, (0, size, _READ, _PRIVATE, Result(0), 0)),
            SystemCall(_CLOSE, (Result(0),)),
        ]
        results = self._run(program, "").results
        if _failed(results[2]):
            reason = os.strerror(_errno(results[2]))
            raise LoadFailed(self.pid, self._path, f"no memory for the record: {reason}")
        self.made.append((results[2], size))
        return results[2]

    def _take_back(self) -> None:
        """Close and unmap; what a crashed constructor left behind stays."""
        program: Program = [Call(self.runtime.dlclose, (h,)) for h in reversed(self.handles)]
        program += [SystemCall(_MUNMAP, part) for part in self.made]
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
) -> None:
    """Take back what `load` did, where the swap came to nothing.

    Where that is not possible now, the copy stays loaded: it takes memory, and nobody reaches it
    but threads that its constructors have made.
    """
    opened = [
        one for one, wanted in zip(there.libraries, request.libraries, strict=True) if wanted.path
    ]  # fmt: skip
    handles = [h for one in opened for h in (one.kept, one.handle)]
    program: Program = [Call(runtime.dlclose, (h,)) for h in reversed(handles)]
    if there.area:
        program.append(SystemCall(_MUNMAP, (there.area, _pages(request.area))))
    if there.record:
        program.append(SystemCall(_MUNMAP, (there.record, _pages(request.record))))
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


def gaps(mappings: Sequence[Mapping], near: Range, size: int) -> list[int]:
    """Addresses of free memory within reach of a jump from anywhere in `near`, closest first."""
    found = []
    edges = [0x10000, *(a for m in mappings for a in (m.start, m.end)), 1 << 47]
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        if high - low < size + 2 * _PAGE:
            continue
        found += [
            place
            for place in (high - size - _PAGE, low + _PAGE)
            if near.end - _REACH < place < near.start + _REACH
        ]
    return sorted(found, key=lambda place: abs(place - near.start))[:8]


def spelled(path: str, taken: Collection[str]) -> str:
    """Another spelling of an absolute path, which the dynamic linker does not know yet.

    It looks for a name among those it has loaded before it looks for the file (dl-load.c).
    """
    directory, _, name = path.rpartition("/")
    for count in range(2, len(taken) + 3):
        candidate = f"{directory}{'/' * count}{name}"
        if candidate not in taken:
            return candidate
    raise AssertionError("more spellings than names")


def is_spelled(name: str) -> bool:
    """Whether `spelled` made the name."""
    return name.rpartition("/")[0].endswith("/")


def _words(outcome: Crashed | Hung | LeftProcess, timeout: float) -> str:
    match outcome:
        case Crashed(signo=signo, address=address):
            return f"its constructor raised {signal.Signals(signo).name} at {address:#x}"
        case Hung():
            return f"its constructor did not come back within {timeout:g} s"
        case LeftProcess():
            return "its constructor tried to end the process"


def _pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _failed(result: int) -> bool:
    return result >= (1 << 64) - 4095


def _errno(result: int) -> int:
    return (1 << 64) - result
