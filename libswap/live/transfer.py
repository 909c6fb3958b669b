"""A write that a stop broke off half way: it goes on with the rest, as it would have without us.

Most waits that a stop ends have done nothing yet and start again. A transfer that has moved a part
gives that part instead (pipe(7), send(2)), and many programs do not look. So the thread is sent to
a few instructions in the unused end of the executable page that its system call is in. They move
the rest, add both, put its registers back and return to where it was. They need nobody: what the
thread has to remember lies below its stack pointer, and setting its registers is one request.
"""

import os
import stat
import struct
from collections.abc import Mapping as Facts
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libswap.errors.process import MemoryUnreachable, ProcessGone
from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.procfs import PROC
from libswap.live import text_tail
from libswap.live.arch import x86_64 as arch
from libswap.live.arch import x86_64_code as code
from libswap.process.maps import Mapping, maps_of

_ROOM: Final = 64
_RED_ZONE: Final = 128
_LEAST_STACK: Final = 4096
"""Nothing is put nearer than this to the end of a stack."""
_MOST_PIECES: Final = 64
_VECTOR: Final = struct.Struct("<QQ")
_TERMINALS: Final = frozenset({4, 5, *range(136, 144)})
"""Major numbers of ttys, consoles and pseudoterminals (devices.txt of the kernel)."""
_ENDLESS: Final = frozenset({(1, 5), (1, 8), (1, 9)})
"""/dev/zero, /dev/random and /dev/urandom fill what they are given."""
_SIGCANCEL: Final = 32
_MSG_DONTWAIT: Final = 0x40
_MSG_WAITALL: Final = 0x100


def continued(pid: int, tid: int, registers: arch.Registers, *, taking: int = 0) -> arch.Registers:
    """Where a stopped thread goes on so that its transfer is not cut short.

    Args:
        pid: its process.
        tid: the thread, in a stop within the kernel's signal delivery.
        registers: its registers.
        taking: the signal that it is about to take, 0 for none.

    Returns:
        `registers` themselves where nothing was broken off: the count is whole, the descriptor is
        one that may give less, a handler will run and would have ended the transfer anyway,
        threads are cancelled in this program, or there is no place for what must be remembered.
    """
    left = arch.rest_of(registers)
    if left is None or registers.cs != arch.USER_CODE_SEGMENT:
        return registers
    with suppress(MemoryUnreachable, ProcessGone, OSError):
        if _asks_for_all(pid, tid, registers) and not _handler_matters(pid, tid, taking):
            with ProcessMemory(tid) as memory:
                return _sent_on(memory, registers, maps_of(tid))
    return registers


def _asks_for_all(pid: int, tid: int, registers: arch.Registers) -> bool:
    """Whether the call gives less than it was asked for only where it is interrupted."""
    call = registers.system_call
    if call == arch.SystemCalls.GETRANDOM:
        return True
    if call in arch.SOCKET_CALLS and registers.r10 & _MSG_DONTWAIT:
        return False
    if call == arch.SystemCalls.RECVFROM and not registers.r10 & _MSG_WAITALL:
        return False
    if _does_not_block(pid, tid, registers.rdi):
        return False
    file = os.stat(PROC.path(pid, f"task/{tid}/fd/{registers.rdi}"))  # noqa: PTH116  a proc link
    if call == arch.SystemCalls.READ:
        device = (os.major(file.st_rdev), os.minor(file.st_rdev))
        return stat.S_ISCHR(file.st_mode) and device in _ENDLESS
    tty = stat.S_ISCHR(file.st_mode) and os.major(file.st_rdev) in _TERMINALS
    return stat.S_ISFIFO(file.st_mode) or stat.S_ISSOCK(file.st_mode) or tty


def _does_not_block(pid: int, tid: int, descriptor: int) -> bool:
    fields = _fields(PROC.read(pid, f"task/{tid}/fdinfo/{descriptor}"))
    return int(fields[b"flags"], 8) & os.O_NONBLOCK != 0


def _handler_matters(pid: int, tid: int, taking: int) -> bool:
    """Whether a signal is there that the program handles (proc_pid_status(5)), or could cancel.

    glibc's handler for pthread_cancel(3), in place from its first use on (2.34), finds the cleanup
    handlers by unwinding the stack, and our few instructions are in no unwind table.
    """
    fields = _fields(PROC.read(pid, f"task/{tid}/status"))
    pending, shared, blocked, caught = (
        int(fields[name], 16) for name in (b"SigPnd", b"ShdPnd", b"SigBlk", b"SigCgt")
    )
    now = (pending | shared) & ~blocked | (1 << taking - 1 if taking else 0)
    return (now | 1 << _SIGCANCEL - 1) & caught != 0


def _fields(text: bytes) -> Facts[bytes, bytes]:
    pairs = (line.partition(b":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is still to be moved.

    Attributes:
        pointer: the new value of the argument that says where.
        length: the new value of the argument that says how much.
        vector: pieces of memory, for a call that takes a list of them.
    """

    pointer: int
    length: int
    vector: bytes = b""


def _sent_on(
    memory: ProcessMemory, registers: arch.Registers, maps: tuple[Mapping, ...]
) -> arch.Registers:
    place = _place(memory, registers, maps)
    rest = _rest(memory, registers)
    if place is None or rest is None:
        return registers
    below = registers.rsp - (0 if registers.rip == place + code.AFTER_CALL else _RED_ZONE)
    vector = (below - len(rest.vector)) & ~15
    frame = vector - code.CONTINUATION_FRAME
    if not _within_stack(frame, maps):
        return registers
    if memory.read(place, len(code.CONTINUATION)) != code.CONTINUATION:
        memory.write(place, code.CONTINUATION)
    memory.write(frame, code.continuation_frame(registers, registers.result) + rest.vector)
    pointer, length = arch.TRANSFERS[registers.orig_rax]
    return registers._replace(
        **{pointer: vector if rest.vector else rest.pointer, length: rest.length},
        rax=registers.orig_rax, rip=place, rsp=frame, orig_rax=arch.unsigned(-1),
    )  # fmt: skip


def _place(
    memory: ProcessMemory, registers: arch.Registers, maps: tuple[Mapping, ...]
) -> int | None:
    """The end of the page tail in the very segment whose system call it was: it stays loaded."""
    if memory.read(registers.rip - 2, 2) != code.SYSTEM_CALL:
        return None
    tail = text_tail.behind(registers.rip, maps, memory)
    return tail.end - _ROOM if tail.size >= text_tail.DOORWAY_ROOM + _ROOM else None


def _within_stack(frame: int, maps: tuple[Mapping, ...]) -> bool:
    """Whether it lies on a thread's own stack: the first one, or one with a guard page below."""
    before = Range(0, 0)
    for mapping in maps:
        if mapping.start + _LEAST_STACK <= frame < mapping.end:
            guarded = before.end == mapping.start
            return mapping.writable and (mapping.name == b"[stack]" or guarded)
        before = Range(0, 0) if mapping.readable else Range(mapping.start, mapping.end)
    return False


def _rest(memory: ProcessMemory, registers: arch.Registers) -> _Rest | None:
    done = registers.result
    pointer, length = (getattr(registers, name) for name in arch.TRANSFERS[registers.orig_rax])
    if registers.orig_rax != arch.SystemCalls.WRITEV:
        return _Rest(pointer + done, length - done)
    if length > _MOST_PIECES:
        return None
    pieces = []
    for start, size in _VECTOR.iter_unpack(memory.read(pointer, _VECTOR.size * length)):
        skipped = min(done, size)
        done -= skipped
        if size > skipped:
            pieces.append(_VECTOR.pack(start + skipped, size - skipped))
    return _Rest(0, len(pieces), b"".join(pieces)) if pieces else None
