"""Which thread of a process may be borrowed, and when."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from libswap.errors.live import NoSafeThread
from libswap.errors.process import MemoryUnreachable, ThreadUnstoppable
from libswap.linux import ptrace
from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.procfs import PROC
from libswap.linux.scheduling import promptly
from libswap.linux.tracer import heed, unbroken
from libswap.live import scratch, text_tail
from libswap.live.arch import x86_64 as arch
from libswap.live.arch import x86_64_code as code
from libswap.live.exclusive import exclusively
from libswap.live.loader_locks import LoaderLocks, all_free
from libswap.live.quiescence import Forbidden
from libswap.live.remote import Borrowed, Disturbed
from libswap.live.stacks import (
    Areas,
    Hit,
    Untraceable,
    has_signal_frame,
    live_stack,
    with_interrupted,
)
from libswap.live.thread import Thread, ThreadGone, maps_through, states
from libswap.live.tracee import let_go
from libswap.live.transaction import commit
from libswap.live.writing import Prepared, Write
from libswap.process.identity import Identity
from libswap.process.maps import Mapping

_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.02
_FOR_ONE_THREAD: Final = 0.5


@contextmanager
def borrow(
    identity: Identity,
    memory: ProcessMemory,
    *,
    avoid: Areas,
    deadline: float,
    errno_location: int = 0,
    loader_locks: LoaderLocks | None = None,
    layout: scratch.Layout | None = None,
    lift_seccomp: bool = False,
) -> Iterator[Borrowed]:
    """Borrow one thread that is at a safe place; the others are not touched.

    Safe is: the program counter and every word on its live stack lie outside of `avoid`. What the
    called code needs (the loader's lock, malloc's) is then not held by the borrowed thread, and
    whoever holds it goes on running and will release it.

    Args:
        identity: the process.
        memory: its memory.
        avoid: the code of ld.so, and of malloc and its family.
        deadline: until when to look for a thread, in monotonic seconds.
        errno_location: address of __errno_location, so that errno survives.
        loader_locks: where the loader's locks are; a crash in a constructor leaves them held, and
            they are given back then.
        layout: sizes of the scratch memory.
        lift_seccomp: suspend seccomp filters meanwhile.

    Raises:
        NoSafeThread: there was none until `deadline`.
        TargetBusy: another libswap was at work in it until then.
        ProcessGone: the process ended.
        SystemRefused: the kernel does not let us trace it.
    """
    maps = maps_through(identity.pid)
    tail = text_tail.roomiest(maps, memory, text_tail.DOORWAY_ROOM, identity.pid)
    with unbroken(), exclusively(identity.pid, deadline), promptly():
        _clear(identity, memory, tail, deadline)
        for thread in _safe_threads(
            identity, memory, avoid, loader_locks, deadline, lift_seccomp=lift_seccomp
        ):
            with suppress(Disturbed, ThreadGone):
                borrowed = Borrowed(
                    thread,
                    memory,
                    tail,
                    caught=_caught(thread),
                    errno_location=errno_location,
                    loader_locks=loader_locks,
                    layout=layout,
                )
                borrowed.enter()
                break
        with borrowed:
            yield borrowed


def _clear(identity: Identity, memory: ProcessMemory, tail: Range, deadline: float) -> None:
    """Make sure that no thread is still in a doorway that a killed libswap left behind."""
    mark = code.DOORWAY_MARK
    if memory.read(tail.start, len(mark)) == mark:
        doorway = Range(tail.start, tail.start + text_tail.DOORWAY_ROOM)
        left = Forbidden(doorway, "the way home from an earlier, killed libswap")
        forget = Write(tail.start, mark, bytes(len(mark)))
        wait = deadline - time.monotonic()
        commit(identity, memory, Prepared(((forget,),), (left,)), wait=wait)


def _safe_threads(
    identity: Identity,
    memory: ProcessMemory,
    avoid: Areas,
    loader_locks: LoaderLocks | None,
    deadline: float,
    *,
    lift_seccomp: bool,
) -> Iterator[Thread]:
    """Stopped threads that are fit, one after the other; never ends but by an error."""
    began = time.monotonic()
    pause = _FIRST_PAUSE
    reasons: dict[int, str] = {}
    while True:
        identity.check()
        tids = _sleepers_first(identity.pid)
        maps = maps_through(identity.pid)
        for tid in tids:
            thread = Thread(identity.pid, tid)
            with suppress(ThreadGone):
                thread.seize(lift_seccomp=lift_seccomp)
                identity.check()
                why = _stopped(thread, memory, maps, avoid, loader_locks)
                if why is None:
                    yield thread
                else:
                    reasons[tid] = f"thread {tid} {why}"
        if time.monotonic() >= deadline:
            raise NoSafeThread(identity.pid, time.monotonic() - began, tuple(reasons.values()))
        heed()  # nobody is held here
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _stopped(
    thread: Thread,
    memory: ProcessMemory,
    maps: Sequence[Mapping],
    avoid: Areas,
    loader_locks: LoaderLocks | None,
) -> str | None:
    """Stop a seized thread and judge it as `unfit` does; it is let go unless it is fit."""
    why: str | None = "could not be stopped"
    try:
        thread.stop(time.monotonic() + _FOR_ONE_THREAD)
        why = unfit(thread, memory, maps, avoid, loader_locks)
    except ThreadUnstoppable:
        pass
    finally:
        if why is not None:
            let_go([thread])
    return why


def unfit(
    thread: Thread,
    memory: ProcessMemory,
    maps: Sequence[Mapping],
    avoid: Areas,
    loader_locks: LoaderLocks | None = None,
) -> str | None:
    """Why a stopped thread may not be borrowed now, None where it may.

    Unused parts of frames keep return addresses of long ago: a thread that sleeps would be refused
    for ever. So not every such word counts.
    """
    registers = thread.registers
    if registers.cs != arch.USER_CODE_SEGMENT:
        return "runs 32-bit code"
    if registers.eflags & arch.TRAP_FLAG:
        return "is being single-stepped"
    if avoid.find(registers.rip):
        return f"is inside the loader or malloc (at {registers.rip:#x})"
    if _in_rseq_section(thread, memory):
        return "is inside a restartable sequence"
    try:
        stack = live_stack(registers.rsp, maps)
        if stack is None:
            return "has no stack that is known"
        content = memory.read(stack.start, stack.size)
        contents = with_interrupted(stack, content, maps, lambda o: memory.read(o.start, o.size))
    except MemoryUnreachable:
        return "has got another stack just now"
    except Untraceable:
        return "has more on its stacks than can be followed"
    hits = [hit for one, data in contents.items() for hit in avoid.hits(data, one.start)]
    if hits and loader_locks is not None:
        hits = list(_telling(hits, registers, content, memory, loader_locks))
    if hits:
        return f"is called from the loader or malloc (return address {hits[0].value:#x})"
    return None


def _telling(
    hits: Sequence[Hit],
    registers: arch.Registers,
    content: bytes,
    memory: ProcessMemory,
    locks: LoaderLocks,
) -> Iterator[Hit]:
    """The words that are not surely left from long ago.

    While all locks of the loader are free, nobody is within it in a way that matters. No allocator
    waits for events: a thread that does so has not been called from one, unless a handler has
    interrupted it there.
    """
    idle = registers.system_call in arch.WAITS_FOR_EVENTS and not has_signal_frame(content)
    free = all_free(memory, locks.data)
    for hit in hits:
        of_loader = any(hit.value in code for code in locks.code)
        if not (free if of_loader else idle):
            yield hit


def _in_rseq_section(thread: Thread, memory: ProcessMemory) -> bool:
    """Whether the kernel would send the thread to an abort address (rseq(2))."""
    try:
        area = ptrace.rseq_area(thread.tid)
    except OSError:
        return False  # before Linux 5.13: threads of glibc do not use it there
    if not area:
        return False
    section = int.from_bytes(memory.read(area + 8, 8), "little")
    if not section:
        return False
    start = int.from_bytes(memory.read(section + 8, 8), "little")
    length = int.from_bytes(memory.read(section + 16, 8), "little")
    return start <= thread.registers.rip < start + length


def _sleepers_first(pid: int) -> list[int]:
    """Those in a wait that a signal can end come first; one in state D would not stop."""
    letters = states(pid)
    return sorted((t for t in letters if letters[t] != "D"), key=lambda tid: letters[tid] != "S")


def _caught(thread: Thread) -> int:
    """The signals that the process has handlers for (proc_pid_status(5), SigCgt)."""
    try:
        status = PROC.read(thread.pid, f"task/{thread.tid}/status")
    except (FileNotFoundError, ProcessLookupError):
        raise ThreadGone from None
    for line in status.splitlines():
        if line.startswith(b"SigCgt:"):
            return int(line.split()[1], 16)
    return 0
