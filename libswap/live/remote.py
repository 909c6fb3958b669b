"""Run code in a process on a thread borrowed for a moment, so that we may die at any time.

    with ProcessMemory(tid) as memory:
        with borrow(identity, memory, avoid=ranges, errno_location=address, deadline=...) as thread:
            outcome = thread.run([Call(dlopen, (b"/lib/new.so", RTLD_NOW)), ...], timeout=5.0)

The thread stands at one of a few places between runs, and from each of them it finds its own way
home if the tracer vanishes. See docs/explanation/live-mechanism.md.
"""

import errno
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, NoReturn, Self, TypeAlias

from libswap.errors.live import RemoteCallRefused, ScratchTaken
from libswap.errors.process import (
    MemoryUnreachable,
    ProcessGone,
    ProcessReplaced,
    ThreadUnstoppable,
)
from libswap.linux import ptrace
from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.tracer import heed, hurried
from libswap.live import scratch, stops
from libswap.live.arch import x86_64 as arch
from libswap.live.arch import x86_64_code as code
from libswap.live.calls import Crashed, Hung, LeftProcess, Outcome, Program, Returned
from libswap.live.loader_locks import LoaderLocks, held, own_tid, release
from libswap.live.thread import Thread, ThreadGone, state

_FAULTS: Final = (
    signal.SIGABRT,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
)
# A blocked fault would make the kernel forget the process's handler (force_sig_info_to_task()), and
# one that the code raises itself would wait for the thread's return.
_BLOCKED: Final = ((1 << 64) - 1) & ~sum(1 << number - 1 for number in _FAULTS)
_LEAVING: Final = frozenset(
    {
        arch.SystemCalls.EXIT,
        arch.SystemCalls.EXIT_GROUP,
        arch.SystemCalls.EXECVE,
        arch.SystemCalls.EXECVEAT,
    }
)
_SLEEPS: Final = frozenset({35, 230})  # nanosleep, clock_nanosleep: they claim the restart block
_TO_COME_HOME: Final = 2.0
_BETWEEN_LOOKS: Final = 0.1
_SYSCALL_LENGTH: Final = 2
_MOST_FAILURES: Final = 4
"""Of one run: the call's own, one more on the way home, and none that repeats for ever."""
_SI_TKILL: Final = -6

_Failure: TypeAlias = Crashed | LeftProcess | Hung


class Disturbed(Exception):
    """A signal came before the thread had begun; it was let go with it."""


class Borrowed:
    """A thread that works for us; made by `choice.borrow`.

    Attributes:
        thread: the thread, stopped but for the time of a run.
    """

    def __init__(
        self,
        thread: Thread,
        memory: ProcessMemory,
        tail: Range,
        *,
        caught: int = 0,
        errno_location: int = 0,
        loader_locks: LoaderLocks | None = None,
        layout: scratch.Layout | None = None,
    ) -> None:
        """Take a stopped thread that is fit for it.

        Args:
            thread: stopped in a `Trapped` stop.
            memory: of its process.
            tail: room for the doorway (`text_tail.roomiest`).
            caught: signals for which the process has handlers.
            errno_location: address of __errno_location, 0 where it is not known.
            loader_locks: where the loader's locks are, to be given back after a fault.
            layout: sizes of the scratch memory.
        """
        self.thread: Final = thread
        self._memory: Final = memory
        self._tail: Final = tail
        self._caught: Final = caught
        self._errno_location: Final = errno_location
        self._loader_locks = loader_locks
        self._layout: Final = layout or scratch.Layout()
        self._home: arch.Registers = thread.registers
        self._old_tail: bytes = b""
        self._in_call = False
        self._restart_lost = False
        self._scratch: scratch.Scratch | None = None
        self._last_call = 0
        self._gate = Range(0, 0)
        self._xstate = b""
        self._mask = 0
        self._entered = False
        self._lost = False
        self._taken = False

    def __enter__(self) -> Self:
        if self._scratch is None:
            self.enter()
        return self

    def enter(self) -> None:
        """Bring the thread into scratch memory; on any error it is home again.

        Raises:
            Disturbed: a signal came first; try another time.
            RemoteCallRefused: the target may not have that memory.
            ScratchTaken: it had it, and unmapped it.
            ThreadGone: it ended.
        """
        try:
            with self._insisting():
                self._enter()
        except ProcessLookupError:
            self._lost = True
            raise ThreadGone from None
        except BaseException:
            self._go_home()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._go_home()
        except (ThreadGone, ProcessGone):
            if error is None:
                raise ProcessGone(self.thread.pid) from None

    def run(self, program: Program, *, timeout: float, read_strings: Sequence[int] = ()) -> Outcome:
        """Make the calls of a program, one after the other.

        Args:
            program: the calls.
            timeout: seconds until they are given up.
            read_strings: indexes of calls whose result is a C string that is wanted.

        Raises:
            ProcessGone: the target ended meanwhile.
            ScratchTaken: it unmapped the memory in which this is done.
            ThreadUnstoppable: given up, and the thread hangs in the kernel: it comes home by
                itself when that is over.
        """
        if self._lost:
            raise self._left_alone()
        try:
            with self._insisting():
                return self._run(program, time.monotonic() + timeout, read_strings)
        except (ThreadGone, ProcessLookupError):
            self._lost = True
            raise ProcessGone(self.thread.pid) from None

    # The way in

    def _enter(self) -> None:
        thread = self.thread
        self._xstate = ptrace.registers(thread.tid, ptrace.RegisterSet.X86_XSTATE)
        self._mask = ptrace.signal_mask(thread.tid)
        doorway = self._doorway(0)
        self._old_tail = self._memory.read(self._tail.start, len(doorway.image))
        self._memory.write(self._tail.start, doorway.image)
        self._gate = Range(doorway.enter, doorway.first_call)
        # From here the thread makes its own way, with us or without.
        self._send(self._home._replace(rip=doorway.enter, orig_rax=arch.unsigned(-1)))
        results = [self._result_of_system_call()]  # of rt_sigprocmask
        for _ in ("reserve", "data", "code"):
            self._go_on(None)
            results.append(self._result_of_system_call())
        self._scratch = self._accept(results[1:])
        self._furnish(self._scratch)

    def _accept(self, results: list[int]) -> scratch.Scratch:
        start = results[0]
        found = scratch.Scratch(start, self._layout, self._blob())
        if results == [start, start + scratch.GUARD, found.epilogue]:
            return found
        self._scratch = found if start >= 0 else None
        refused = next(r for r in results if r < 0)
        raise RemoteCallRefused(self.thread.pid, "mmap", errno.errorcode.get(-refused, "?"))

    def _blob(self) -> int:
        return code.EXTENDED_STATE + -(-len(self._xstate) // 64) * 64

    def _furnish(self, place: scratch.Scratch) -> None:
        """Fill the scratch memory; the thread stands in the doorway, which does not need it."""
        home = arch.restarted(self._home)
        waits = arch.waits_for_a_signal(self._home)
        frame = code.frame(
            home,
            self._xstate,
            self._mask,
            caught=self._caught if waits else 0,
            interrupted_rip=self._home.rip,
        )
        text, self._last_call = code.epilogue(place.epilogue, place.frame, place.stack_top)
        self._memory.write(place.frame, frame)
        self._memory.write(place.epilogue, text)

    def _doorway(self, start: int) -> code.Doorway:
        return code.Doorway(
            address=self._tail.start,
            home=arch.restarted(self._home),
            old_mask=self._mask,
            blocked=_BLOCKED,
            guard=scratch.GUARD,
            data=self._layout.writable,
            code=self._layout.code,
            scratch=start,
        )

    # The calls

    def _run(self, program: Program, deadline: float, read_strings: Sequence[int]) -> Outcome:
        place = self._place
        placed = scratch.place(program, place, self._errno_location)
        self._memory.write(place.program, placed.text)
        self._memory.write(place.frame + place.blob, placed.blob)
        self._memory.write(place.frame + code.RESULTS, bytes(16 * code.MOST_CALLS))
        self._send(self._home.at(place.program, rsp=place.stack_top))
        failure = self._until_last_call(self._last_call, deadline)
        results = self._words(place.frame + code.RESULTS, len(program))
        if failure is not None:
            self._give_back_locks()
            return replace(failure, results=results)
        base = place.frame + place.blob
        return Returned(
            results,
            self._words(place.frame + code.ERRNOS, len(program)),
            tuple(self._memory.read(base + at, size) for at, size in placed.buffers),
            {i: self._memory.read_string(results[i]) for i in read_strings if results[i]},
        )

    def _give_back_locks(self) -> None:
        """What the broken-off call still holds of the loader's locks, others would wait for."""
        locks, self._loader_locks = self._loader_locks, None  # not again if this fails too
        if locks is None:
            return
        owner = own_tid(self.thread.pid, self.thread.tid)
        left = held(self._memory, locks.data, owner)
        if left:
            self._run(release(locks, left), time.monotonic() + _TO_COME_HOME, ())
        self._loader_locks = locks

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self._memory.read(address, 8 * count))

    def _until_last_call(self, last_call: int, deadline: float) -> _Failure | None:
        """Follow the thread until it is about to restore its signal mask; all else is done then."""
        first: _Failure | None = None
        failures = 0
        while True:
            stop = self._awaited(deadline)
            failure = self._failure(stop)
            if failure is not None:
                failures += 1
                if failures > _MOST_FAILURES:
                    raise self._scratch_taken()
                first = first or failure
                deadline = time.monotonic() + _TO_COME_HOME
                self._send(self._registers().at(self._place.epilogue))
            elif self._in_call and self._registers().rip == last_call + _SYSCALL_LENGTH:
                return first
            else:
                self._go_on(stop)

    def _awaited(self, deadline: float) -> stops.Stop | None:
        """The next stop; None at the deadline. An interruption lets what is soon done be done."""
        while True:
            now = time.monotonic()
            stop = stops.wait(self.thread.tid, min(deadline, now + _BETWEEN_LOOKS))
            if stop is not None or now >= deadline:
                return stop
            if hurried():
                return self._awaited_in_a_hurry(min(deadline, now + _TO_COME_HOME))

    def _awaited_in_a_hurry(self, deadline: float) -> stops.Stop | None:
        stop = stops.wait(self.thread.tid, deadline)
        if stop is None:
            self._lost = True  # it goes on, and comes home by itself: as where we are killed
            heed()
        return stop

    def _failure(self, stop: stops.Stop | None) -> _Failure | None:
        """What this stop means for the program; None where it means nothing."""
        match stop:
            case None:
                self._interrupt()
                return Hung(self._registers().rip, ())
            case stops.SystemCall():
                self._in_call = not self._in_call
                return self._leaving() if self._in_call else None
            case stops.Signalled():
                info = ptrace.signal_info(self.thread.tid)
                registers = self._registers()
                if _is_fault(info, registers):
                    return Crashed(info.signo, info.address, registers.rip, ())
                return None
            case _:
                return None

    def _leaving(self) -> LeftProcess | None:
        number = self._registers().orig_rax
        self._restart_lost = self._restart_lost or number in _SLEEPS
        return LeftProcess(number, ()) if number in _LEAVING else None

    def _interrupt(self) -> None:
        """Stop the thread in whatever it hangs in. Any stop will do, and only the first comes."""
        self.thread.interrupt()
        deadline = time.monotonic() + _TO_COME_HOME
        match stops.wait(self.thread.tid, deadline):
            case None:
                raise self._left_alone()
            case stops.SystemCall():
                self._in_call = not self._in_call
            case stops.Trapped():
                pass
            case stop:
                self._go_on(stop)
                self._interrupt()

    @property
    def _place(self) -> scratch.Scratch:
        if self._scratch is None:
            raise AssertionError("a borrowed thread runs only inside of `with`")
        return self._scratch

    @contextmanager
    def _insisting(self) -> Iterator[None]:
        """Call it by its name where the scratch memory is not there any more."""
        try:
            yield
        except MemoryUnreachable as error:
            place = self._scratch
            if place is None or error.address not in Range(place.start, place.start + place.size):
                raise
            raise self._scratch_taken() from None

    def _scratch_taken(self) -> ScratchTaken:
        self._taken = True
        return ScratchTaken(self.thread.pid)

    # The way home

    def _go_home(self) -> None:
        """Undo everything; from the first register set on, the thread does it without us too."""
        if self._lost:
            return
        if self._old_tail and self._entered:
            self._leave_by_doorway()
            self.thread.set_registers(self._returning())
        if self._old_tail:
            self._memory.write(self._tail.start, self._old_tail)
        self.thread.detach()

    def _leave_by_doorway(self) -> None:
        place = self._scratch
        doorway = self._doorway(place.start if place else 0)
        self._memory.write(self._tail.start, doorway.image)
        self.thread.set_extended(self._xstate)
        # Where the scratch memory was, another thread may have mapped something of its own.
        gate = doorway.unmap if place and not self._taken else doorway.leave
        self._send(self._home._replace(rip=gate, orig_rax=arch.unsigned(-1)))
        self._until_out(doorway.last_call)
        # It stops once more after the mask is restored and before any signal is delivered. There
        # the registers of its own system call can be given back to the kernel, which then restarts
        # it or runs a handler and gives EINTR, exactly as it would have done without us.
        self.thread.interrupt()
        self.thread.resume()
        self.thread.await_stop(time.monotonic() + _TO_COME_HOME)

    def _returning(self) -> arch.Registers:
        if not self._restart_lost or self._home.result != -arch.ERESTART_RESTARTBLOCK:
            return self._home
        call = self._home.orig_rax
        if call == arch.SystemCalls.RESTART_SYSCALL:
            # It was stopped before: only the code in front still tells which call it is.
            before = self._home.rip - _SYSCALL_LENGTH - code.LOADED_NUMBER
            call = code.loaded_number(self._memory.read(before, code.LOADED_NUMBER)) or call
        again = self._home._replace(rax=arch.unsigned(-arch.ERESTARTNOINTR), orig_rax=call)
        return arch.restarted(again)

    def _until_out(self, last_call: int) -> None:
        """Follow the thread until it is about to restore its mask; it needs no help of ours."""
        deadline = time.monotonic() + _TO_COME_HOME
        while (stop := stops.wait(self.thread.tid, deadline)) is not None:
            if isinstance(stop, stops.SystemCall):
                self._in_call = not self._in_call
                if self._in_call and self._registers().rip == last_call + _SYSCALL_LENGTH:
                    return
            self._go_on(stop)
        raise self._left_alone()

    def _left_alone(self) -> ThreadUnstoppable:
        """The thread runs, and would be ruined by what is meant for one that stands still.

        It comes home by itself; nobody else may be sent through its doorway before that.
        """
        self._lost = True
        tid, pid = self.thread.tid, self.thread.pid
        return ThreadUnstoppable(pid, tid, state(pid, tid))

    # Stops

    def _send(self, registers: arch.Registers) -> None:
        self._entered = True  # before it is: the way home is one from where it stands now, too
        self.thread.set_registers(registers)
        self._go_on(None)

    def _go_on(self, stop: stops.Stop | None) -> None:
        match stop:
            case stops.Ended():
                self._lost = True
                raise ThreadGone
            case stops.Executed():
                self._lost = True  # its registers now belong to another program
                self.thread.detach()
                raise ProcessReplaced(self.thread.pid)
            case stops.Signalled(signo=signo):
                pass
            case _:
                signo = 0
        try:
            ptrace.resume_to_syscall(self.thread.tid, signo)
        except ProcessLookupError:
            raise ThreadGone from None

    def _registers(self) -> arch.Registers:
        try:
            return arch.Registers.unpack(ptrace.registers(self.thread.tid))
        except ProcessLookupError:
            raise ThreadGone from None

    def _result_of_system_call(self) -> int:
        """Follow the thread through one system call of the doorway."""
        deadline = time.monotonic() + _TO_COME_HOME
        while True:
            stop = stops.wait(self.thread.tid, deadline)
            match stop:
                case None:
                    raise self._left_alone()
                case stops.SystemCall():
                    self._in_call = not self._in_call
                    if not self._in_call:
                        return self._registers().result
                case stops.Signalled(signo=signo) if self._registers().rip in self._gate:
                    self._abandon(signo)
                case _:
                    pass
            self._go_on(stop)

    def _abandon(self, signo: int) -> NoReturn:
        """A signal was first: let it be as if we had never come."""
        self.thread.set_registers(self._home)
        self._memory.write(self._tail.start, self._old_tail)
        self._lost = True
        with suppress(ProcessLookupError):
            ptrace.detach(self.thread.tid, signo)
        raise Disturbed


def _is_fault(info: ptrace.SignalInfo, registers: arch.Registers) -> bool:
    """Whether the called code itself raised it; what others sent is passed on.

    Its own raise() and abort() are seen as it comes out of tgkill(2).
    """
    raised = info.code == _SI_TKILL and registers.orig_rax == arch.SystemCalls.TGKILL
    return info.signo in _FAULTS and (info.code > 0 or raised)
