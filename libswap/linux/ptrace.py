"""Raw requests of ptrace(2) to threads that were seized, and the waiting for them.

Every function hands on the `OSError` of the kernel; ESRCH means that the thread is gone or is not
stopped. All requests to one tracee must come from one thread of ours.
"""

import ctypes
import os
from ctypes import byref, c_int, c_ulong, c_void_p
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from libswap.linux import death, libc

# <linux/ptrace.h>
_CONT: Final = 7
_DETACH: Final = 17
_SYSCALL: Final = 24
_GETEVENTMSG: Final = 0x4201
_GETSIGINFO: Final = 0x4202
_GETREGSET: Final = 0x4204
_SETREGSET: Final = 0x4205
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_GETSIGMASK: Final = 0x420A
_GET_RSEQ_CONFIGURATION: Final = 0x420F

_WALL: Final = 0x40000000
_SIGSET_SIZE: Final = 8
_SIGINFO_SIZE: Final = 128
_REGSET_ROOM: Final = 1 << 16


class Options(IntFlag):
    """PTRACE_O_*."""

    NONE = 0
    TRACESYSGOOD = 1
    TRACEFORK = 1 << 1
    TRACEVFORK = 1 << 2
    TRACECLONE = 1 << 3
    TRACEEXEC = 1 << 4
    SUSPEND_SECCOMP = 1 << 21


class Event(IntEnum):
    """PTRACE_EVENT_*, in the third byte of a wait status."""

    NONE = 0
    FORK = 1
    VFORK = 2
    CLONE = 3
    EXEC = 4
    STOP = 128


class RegisterSet(IntEnum):
    """NT_* of <elf.h> that name a thread's register sets."""

    PRSTATUS = 1
    X86_XSTATE = 0x202
    X86_SHSTK = 0x204


class SignalInfo(NamedTuple):
    """The head of siginfo_t (sigaction(2)).

    Attributes:
        signo: si_signo.
        code: si_code; positive where the kernel raised the signal for a fault.
        address: si_addr of a fault; of a sent signal, its low half is si_pid.
    """

    signo: int
    code: int
    address: int

    @property
    def sender(self) -> int:
        """si_pid of a signal that a process sent."""
        return self.address & 0xFFFFFFFF


def seize(tid: int, options: Options) -> None:
    """Become the tracer of a running thread without stopping it."""
    _request(_SEIZE, tid, 0, int(options))


def interrupt(tid: int) -> None:
    """Ask a thread to stop; it does so before its next instruction in user mode."""
    _request(_INTERRUPT, tid, 0, 0)


def resume(tid: int, signo: int = 0) -> None:
    """Let a stopped thread go on, with the signal of a signal-delivery-stop or none."""
    _request(_CONT, tid, 0, signo)


def resume_to_syscall(tid: int, signo: int = 0) -> None:
    """As `resume`, up to the next entry into or exit from a system call."""
    _request(_SYSCALL, tid, 0, signo)


def detach(tid: int, signo: int = 0) -> None:
    """Let a stopped thread go for good."""
    _request(_DETACH, tid, 0, signo)


def event_message(tid: int) -> int:
    """What came with the last event; for CLONE the new thread's id."""
    value = c_ulong()
    _request(_GETEVENTMSG, tid, 0, byref(value))
    return value.value


def signal_info(tid: int) -> SignalInfo:
    """Of the signal that a thread in signal-delivery-stop was about to take."""
    data = ctypes.create_string_buffer(_SIGINFO_SIZE)
    _request(_GETSIGINFO, tid, 0, data)
    number = int.from_bytes
    raw = data.raw
    return SignalInfo(
        number(raw[0:4], "little", signed=True),
        number(raw[8:12], "little", signed=True),
        number(raw[16:24], "little"),
    )


def registers(tid: int, kind: RegisterSet = RegisterSet.PRSTATUS) -> bytes:
    """A register set of a stopped thread, as long as the kernel has it."""
    buffer = ctypes.create_string_buffer(_REGSET_ROOM if kind != RegisterSet.PRSTATUS else 512)
    vector = libc.IoVec(ctypes.cast(buffer, c_void_p), len(buffer))
    _request(_GETREGSET, tid, int(kind), byref(vector))
    return buffer.raw[: vector.length]


def set_registers(tid: int, data: bytes, kind: RegisterSet = RegisterSet.PRSTATUS) -> None:
    """Replace a register set of a stopped thread, all of it at once."""
    buffer = ctypes.create_string_buffer(data, len(data))
    vector = libc.IoVec(ctypes.cast(buffer, c_void_p), len(data))
    _request(_SETREGSET, tid, int(kind), byref(vector))


def signal_mask(tid: int) -> int:
    """The signals that a stopped thread blocks, bit N - 1 for signal N."""
    value = ctypes.c_uint64()
    _request(_GETSIGMASK, tid, _SIGSET_SIZE, byref(value))
    return value.value


def rseq_area(tid: int) -> int:
    """Where a thread's struct rseq lies, 0 where it registered none (rseq(2), Linux 5.13)."""
    data = (ctypes.c_uint64 * 3)()
    _request(_GET_RSEQ_CONFIGURATION, tid, ctypes.sizeof(data), byref(data))
    return int(data[0])


class Status(NamedTuple):
    """What `wait` learned of a thread.

    Attributes:
        tid: the thread.
        raw: as wait(2) gives it.
    """

    tid: int
    raw: int

    @property
    def stopped(self) -> bool:
        """Whether it is stopped, and not ended."""
        return os.WIFSTOPPED(self.raw)

    @property
    def signo(self) -> int:
        """The signal of the stop; SIGTRAP | 0x80 for a system call."""
        return os.WSTOPSIG(self.raw)

    @property
    def event(self) -> int:
        """PTRACE_EVENT_* of the stop, 0 for a signal-delivery-stop or a system call."""
        return self.raw >> 16


def wait(tid: int, *, block: bool = False) -> Status | None:
    """The next thing that happened to a tracee.

    Returns:
        None where nothing did yet, and `block` is not set.

    Raises:
        OSError: ECHILD, when there is no such tracee any more.
    """
    status = c_int()
    flags = _WALL if block else _WALL | os.WNOHANG
    while True:
        try:
            found = libc.check(libc.waitpid(tid, byref(status), flags))
        except InterruptedError:
            continue
        return Status(tid, status.value) if found else None


def _request(request: int, tid: int, address: int, data: object) -> None:
    death.step()
    if libc.ptrace(request, tid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
