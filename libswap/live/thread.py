"""One thread under ptrace: seized, stopped and let go so that it notices nothing."""

import errno
import threading
import time
from contextlib import suppress
from typing import Final

from libswap.errors.base import SystemRefused
from libswap.errors.process import ProcessGone, ProcessReplaced, ThreadUnstoppable
from libswap.linux import ptrace
from libswap.linux.procfs import PROC
from libswap.live import stops, transfer
from libswap.live.arch import x86_64 as arch
from libswap.process.maps import Mapping, maps_of

_OPTIONS: Final = ptrace.Options.TRACESYSGOOD | ptrace.Options.TRACEEXEC
_DEAD: Final = frozenset({"Z", "X", ""})


class ThreadGone(Exception):
    """This thread has ended; the others need not have."""


class Thread:
    """One seized thread.

    It is never left in a state that it could not live with on its own: when we die, the kernel
    detaches from it and it goes on from where it is.

    Attributes:
        tid: its thread id.
        pid: its process.
        at: its registers while it is stopped, None while it runs.
        group: whether its stop is one of job control too.
        since: when it was seen to stand still, by `time.perf_counter`; 0.0 where it was not yet.
    """

    def __init__(self, pid: int, tid: int) -> None:
        self.pid: Final = pid
        self.tid: Final = tid
        self.at: arch.Registers | None = None
        self.group = False
        self.since = 0.0
        self._born: list[int] = []

    @property
    def stopped(self) -> bool:
        """Whether it stands still."""
        return self.at is not None

    @property
    def registers(self) -> arch.Registers:
        """Of the stopped thread; a system call that our stop broke off counts as not yet made."""
        if self.at is None:
            raise AssertionError("the registers of a running thread")
        return self.at

    def seize(self, *, lift_seccomp: bool = False, and_newborn: bool = False) -> None:
        """Become its tracer; it goes on running.

        Args:
            lift_seccomp: let it make any system call while we trace it (needs CAP_SYS_ADMIN).
            and_newborn: become the tracer of each thread that it makes, too.

        Raises:
            ThreadGone: it has ended.
            SystemRefused: the kernel does not let us.
        """
        options = _OPTIONS
        if lift_seccomp:
            options |= ptrace.Options.SUSPEND_SECCOMP
        if and_newborn:
            options |= ptrace.Options.TRACECLONE
        try:
            ptrace.seize(self.tid, options)
        except OSError as error:
            if error.errno == errno.ESRCH or not is_alive(self.pid, self.tid):
                raise ThreadGone from None
            if tracer(self.pid, self.tid) == threading.get_native_id():
                return  # made by a thread that we trace: the kernel seized it for us
            if not is_alive(self.pid, self.tid):  # it ended while we asked who has it
                raise ThreadGone from None
            raise SystemRefused(
                "trace", f"thread {self.tid} of process {self.pid}", error.strerror or ""
            ) from None

    def interrupt(self) -> None:
        """Ask it to stop. Nothing happens where it has ended; `poll` will tell."""
        try:
            ptrace.interrupt(self.tid)
        except ProcessLookupError:
            return

    def poll(self) -> bool:
        """Take in what happened to it; signals and births are passed on without a rest.

        Returns:
            Whether it stands still now.

        Raises:
            ThreadGone: it has ended.
            ProcessReplaced: its process executed another program.
        """
        while (stop := stops.poll(self.tid)) is not None:
            match stop:
                case stops.Trapped(group=group):
                    self._take_registers(group=group)
                    self.group = group
                    self.since = time.perf_counter()
                    return True
                case stops.Ended():
                    raise ThreadGone
                case stops.Executed():
                    self._let_go()
                    raise ProcessReplaced(self.pid)
                case _:
                    self.pass_on(stop)
        return False

    def pass_on(self, stop: stops.Stop) -> None:
        """Let it go on from a stop that was not of our asking, up to the one that is.

        Any stop uses up a pending interrupt (kernel/signal.c, ptrace_stop()): it is asked again.
        """
        try:
            ptrace.interrupt(self.tid)
            match stop:
                case stops.Signalled(signo=signo):
                    # A traced thread is woken even by signals that it ignores.
                    self._mended(taking=signo)
                    ptrace.resume(self.tid, signo)
                case stops.Cloned():
                    self._born.append(ptrace.event_message(self.tid))
                    ptrace.resume(self.tid)
                case _:
                    ptrace.resume(self.tid)
        except ProcessLookupError:
            return  # killed in its stop; the next wait tells

    def stop(self, deadline: float) -> None:
        """Interrupt it and wait until it stands still.

        Raises:
            ThreadGone: it ended.
            ThreadUnstoppable: it did not stop until `deadline` (monotonic seconds).
        """
        self.interrupt()
        self.await_stop(deadline)

    def await_stop(self, deadline: float) -> None:
        """Wait until an interrupt has its effect."""

        def ask() -> stops.Stop | None:
            if self.poll():
                return stops.Trapped(self.group)
            return None if is_alive(self.pid, self.tid) else stops.Ended()

        match stops.until(ask, deadline):
            case None:
                raise ThreadUnstoppable(self.pid, self.tid, state(self.pid, self.tid))
            case stops.Ended():
                raise ThreadGone

    def newborn(self) -> list["Thread"]:
        """The threads that it was seen to make since the last time, seized from their start."""
        made = [Thread(self.pid, tid) for tid in self._born]
        self._born.clear()
        return made

    def detach(self) -> None:
        """Let a stopped thread go for good; one that job control stopped stays stopped."""
        self._let_go()
        self.at = None

    def set_registers(self, registers: arch.Registers) -> None:
        """Send the stopped thread elsewhere; takes effect as a whole or not at all.

        Raises:
            ThreadGone: it was killed.
        """
        try:
            ptrace.set_registers(self.tid, registers.pack())
        except ProcessLookupError:
            raise ThreadGone from None
        self.at = registers

    def set_extended(self, xstate: bytes) -> None:
        """Replace its vector, mask and x87 registers and what else an XSAVE area holds.

        Raises:
            ThreadGone: it was killed.
        """
        try:
            ptrace.set_registers(self.tid, xstate, ptrace.RegisterSet.X86_XSTATE)
        except ProcessLookupError:
            raise ThreadGone from None

    def resume(self) -> None:
        """Let it go on up to a stop that was asked for already.

        Raises:
            ThreadGone: it was killed.
        """
        self.at = None
        try:
            ptrace.resume(self.tid)
        except ProcessLookupError:
            raise ThreadGone from None

    def _take_registers(self, *, group: bool) -> None:
        try:
            # A stop of job control has ended a transfer before ours, and would have without us.
            self.at = self._mended(transfers=not group)
        except ProcessLookupError:
            raise ThreadGone from None

    def _mended(self, *, transfers: bool = True, taking: int = 0) -> arch.Registers:
        """Its registers, after what the stop did to its system call was made good."""
        registers = arch.Registers.unpack(ptrace.registers(self.tid))
        mended = arch.undisturbed(registers)
        if mended is registers and transfers:
            mended = transfer.continued(self.pid, self.tid, registers, taking=taking)
        if mended is not registers:
            ptrace.set_registers(self.tid, mended.pack())
        return mended

    def _let_go(self) -> None:
        try:
            ptrace.detach(self.tid)
        except ProcessLookupError:
            return


def tracer(pid: int, tid: int) -> int:
    """The thread that traces a thread (proc_pid_status(5), TracerPid), 0 for none."""
    try:
        status = PROC.read(pid, f"task/{tid}/status")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(n.split()[1]) for n in status.splitlines() if n.startswith(b"TracerPid:"))


def is_alive(pid: int, tid: int) -> bool:
    """Whether a thread exists and has not exited (a group leader stays as a zombie)."""
    return state(pid, tid) not in _DEAD


def state(pid: int, tid: int) -> str:
    """The letter of its state (proc_pid_stat(5), field 3), empty where there is no such thread."""
    try:
        stat = PROC.read(pid, f"task/{tid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode("ascii")


def live_threads(pid: int) -> list[int]:
    """The threads of a process that have not exited.

    Raises:
        ProcessGone: there are none.
    """
    return list(states(pid))


def states(pid: int) -> dict[int, str]:
    """The state of every thread of a process that has not exited, by thread id.

    Raises:
        ProcessGone: there are none.
    """
    try:
        found = {tid: state(pid, tid) for tid in PROC.tids(pid)}
    except (FileNotFoundError, ProcessLookupError):
        found = {}
    living = {tid: letter for tid, letter in found.items() if letter not in _DEAD}
    if not living:
        raise ProcessGone(pid)
    return living


def maps_through(pid: int) -> tuple[Mapping, ...]:
    """The mappings of a process, seen through a thread that has not exited.

    Raises:
        ProcessGone: there is none.
    """
    for tid in live_threads(pid):
        with suppress(ProcessGone):
            if maps := maps_of(tid):
                return maps
    raise ProcessGone(pid)
