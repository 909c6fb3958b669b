"""x86-64: the registers of a thread, and how the kernel restarts an interrupted system call."""

import struct
from typing import Final, NamedTuple, Self

_LAYOUT: Final = struct.Struct("<27Q")
_WORD: Final = (1 << 64) - 1

USER_CODE_SEGMENT: Final = 0x33  # __USER_CS; 0x23 is 32-bit code
TRAP_FLAG: Final = 0x100
# Trap, direction, nested task, resume, alignment check: none may be set when C code is entered.
_UNWANTED_FLAGS: Final = 0x100 | 0x400 | 0x4000 | 0x10000 | 0x40000

# include/linux/errno.h: results that never leave the kernel, and the one that does
EINTR: Final = 4
ERESTARTNOINTR: Final = 513
ERESTARTNOHAND: Final = 514
ERESTART_RESTARTBLOCK: Final = 516


class Registers(NamedTuple):
    """`struct user_regs_struct` of <sys/user.h>, which is NT_PRSTATUS's register set."""

    r15: int
    r14: int
    r13: int
    r12: int
    rbp: int
    rbx: int
    r11: int
    r10: int
    r9: int
    r8: int
    rax: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    orig_rax: int
    rip: int
    cs: int
    eflags: int
    rsp: int
    ss: int
    fs_base: int
    gs_base: int
    ds: int
    es: int
    fs: int
    gs: int

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """From NT_PRSTATUS of a 64-bit thread."""
        return cls(*_LAYOUT.unpack(data))

    def pack(self) -> bytes:
        """For NT_PRSTATUS."""
        return _LAYOUT.pack(*self)

    @property
    def system_call(self) -> int | None:
        """The number of the system call that it stopped in, if in any."""
        return None if signed(self.orig_rax) < 0 else self.orig_rax

    @property
    def result(self) -> int:
        """The word in rax as a signed number."""
        return signed(self.rax)

    def at(self, address: int, **changed: int) -> Self:
        """The same thread sent elsewhere: out of its system call and with flags fit for C."""
        return self._replace(
            rip=address, orig_rax=_WORD, eflags=self.eflags & ~_UNWANTED_FLAGS, **changed
        )


def signed(value: int) -> int:
    """A 64-bit word as a signed number."""
    return value - (1 << 64) if value >> 63 else value


def unsigned(value: int) -> int:
    """A number as a 64-bit word."""
    return value & _WORD


class SystemCalls:
    """Numbers of arch/x86/entry/syscalls/syscall_64.tbl."""

    READ = 0
    WRITE = 1
    CLOSE = 3
    MMAP = 9
    MUNMAP = 11
    RT_SIGPROCMASK = 14
    WRITEV = 20
    SENDTO = 44
    RECVFROM = 45
    EXECVE = 59
    EXIT = 60
    FTRUNCATE = 77
    RT_SIGPENDING = 127
    TGKILL = 234
    RESTART_SYSCALL = 219
    EXIT_GROUP = 231
    GETRANDOM = 318
    MEMFD_CREATE = 319
    EXECVEAT = 322


WAITS_FOR_EVENTS: Final = frozenset(
    {
        7,  # poll
        271,  # ppoll
        232,  # epoll_wait
        281,  # epoll_pwait
        441,  # epoll_pwait2
        43,  # accept
        288,  # accept4
        45,  # recvfrom
        47,  # recvmsg
        299,  # recvmmsg
        34,  # pause
        130,  # rt_sigsuspend
        128,  # rt_sigtimedwait
        61,  # wait4
        247,  # waitid
    }
)
"""System calls that no allocator makes. They ask for memory, read settings, and wait for locks by
futex, nanosleep or sched_yield."""

# What signal(7) lists under "Interruption of system calls and library functions by stop signals",
# and what the kernel's source shows to give plain EINTR for any wakeup. None of them has done
# anything by then, so that it can start again. close(2) must never stand here.
_INTERRUPTED_BY_STOPS: Final = frozenset(
    {
        42,  # connect with SO_SNDTIMEO
        43,  # accept with SO_RCVTIMEO
        288,  # accept4
        0,  # read of a socket with SO_RCVTIMEO, of inotify
        19,  # readv
        1,  # write to a socket with SO_SNDTIMEO
        20,  # writev
        44,  # sendto
        46,  # sendmsg
        307,  # sendmmsg
        45,  # recvfrom
        47,  # recvmsg
        299,  # recvmmsg
        65,  # semop
        220,  # semtimedop
        69,  # msgsnd
        70,  # msgrcv
        128,  # rt_sigtimedwait
        208,  # io_getevents
        333,  # io_pgetevents
        232,  # epoll_wait
        281,  # epoll_pwait
        441,  # epoll_pwait2
        426,  # io_uring_enter
        202,  # futex
        449,  # futex_waitv
        73,  # flock
        242,  # mq_timedsend
        243,  # mq_timedreceive
    }
)

SOCKET_CALLS: Final = frozenset({SystemCalls.SENDTO, SystemCalls.RECVFROM})
TRANSFERS: Final = {
    SystemCalls.READ: ("rsi", "rdx"),
    SystemCalls.WRITE: ("rsi", "rdx"),
    SystemCalls.WRITEV: ("rsi", "rdx"),
    SystemCalls.SENDTO: ("rsi", "rdx"),
    SystemCalls.RECVFROM: ("rsi", "rdx"),
    SystemCalls.GETRANDOM: ("rdi", "rsi"),
}
"""Calls that give what they have moved so far, with the registers that say where and how much."""


def rest_of(registers: Registers) -> int | None:
    """How much a system call that has just returned was asked for and has not moved.

    Returns:
        None where it is none of `TRANSFERS`, has moved nothing, or all. (writev(2) counts pieces
        of memory, so that only the pieces tell; the number means nothing then.)
    """
    call = registers.system_call
    if call not in TRANSFERS or registers.result <= 0:
        return None
    asked = int(getattr(registers, TRANSFERS[call][1]))
    left = asked - registers.result
    return asked if call == SystemCalls.WRITEV else left if left > 0 else None


def undisturbed(registers: Registers) -> Registers:
    """The registers of a thread whose system call must not fail because it was stopped.

    A stop makes some system calls give EINTR although no signal was handled. Turned into
    ERESTARTNOHAND, the result is left to the kernel when the thread goes on: it runs the system
    call again, or gives the EINTR after all where a signal handler runs first. The registers can
    only be set so in a stop within the kernel's signal delivery (event-stop, signal-delivery-stop).
    """
    call = registers.system_call
    if call in _INTERRUPTED_BY_STOPS and registers.result == -EINTR:
        return registers._replace(rax=unsigned(-ERESTARTNOHAND))
    return registers


def restarted(registers: Registers) -> Registers:
    """Where a thread goes on in user mode when no signal is handled first.

    Does what arch_do_signal_or_restart() of arch/x86/kernel/signal.c does: the system call
    instruction, two bytes long, is executed again.
    """
    call = registers.system_call
    if call is None:
        return registers
    match -registers.result:
        case 512 | 513 | 514:
            return registers._replace(rax=call, rip=registers.rip - 2, orig_rax=_WORD)
        case 516:
            again = SystemCalls.RESTART_SYSCALL
            return registers._replace(rax=again, rip=registers.rip - 2, orig_rax=_WORD)
        case _:
            return registers._replace(orig_rax=_WORD)


def waits_for_a_signal(registers: Registers) -> bool:
    """Whether a handler that runs now must make its system call give EINTR."""
    return registers.system_call is not None and registers.result == -ERESTARTNOHAND
