"""The loader's locks: whether any is held, and those that a broken-off dlopen has left held.

A constructor that crashes inside of dlopen leaves the dynamic linker's lock with the borrowed
thread: every later dlopen of another thread would wait for ever.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.linux.memory import Memory, Range
from libswap.linux.procfs import PROC
from libswap.live.calls import Call, Program

_MUTEX: Final = struct.Struct("<iIiIi")  # __lock, __count, __owner, __nusers, __kind
_RECURSIVE: Final = 1  # PTHREAD_MUTEX_RECURSIVE_NP, the kind of all of the loader's locks
_MOST_NESTED: Final = 16


@dataclass(frozen=True, slots=True)
class LoaderLocks:
    """Where a target's dynamic linker keeps its locks.

    Attributes:
        data: `_rtld_global` of ld.so, as its symbol tells.
        unlock: address of pthread_mutex_unlock.
        code: the code of ld.so.
    """

    data: Range
    unlock: int
    code: tuple[Range, ...] = ()


class Held(NamedTuple):
    """One held lock.

    Attributes:
        address: of the pthread_mutex_t.
        times: how often it was taken.
    """

    address: int
    times: int


def all_free(memory: Memory, data: Range) -> bool:
    """Whether no thread holds one of the recursive mutexes in `data`.

    A thread that is about to take or to give one back has set the word of the lock, but not or no
    longer its name as the owner: the word decides.
    """
    content = memory.read(data.start, data.size)
    return not any(
        lock in (1, 2) and max(count, users) <= _MOST_NESTED and who >= 0 and kind == _RECURSIVE
        for at in range(0, len(content) - _MUTEX.size + 1, 8)
        for lock, count, who, users, kind in [_MUTEX.unpack_from(content, at)]
    )


def held(memory: Memory, data: Range, owner: int) -> list[Held]:
    """The recursive mutexes in `data` that a thread holds.

    Args:
        memory: of the process.
        data: `_rtld_global`.
        owner: the thread's id in its own PID namespace, as glibc has stored it.
    """
    content = memory.read(data.start, data.size)
    found = []
    for at in range(0, len(content) - _MUTEX.size + 1, 8):
        lock, count, who, users, kind = _MUTEX.unpack_from(content, at)
        taken = lock in (1, 2) and 1 <= count <= _MOST_NESTED and users >= 1
        if taken and who == owner and kind == _RECURSIVE:
            found.append(Held(data.start + at, count))
    return found


def release(locks: LoaderLocks, left: list[Held]) -> Program:
    """The calls that give them back."""
    return [Call(locks.unlock, (one.address,)) for one in left for _ in range(one.times)]


def own_tid(pid: int, tid: int) -> int:
    """A thread's id in its own PID namespace (proc_pid_status(5), NSpid)."""
    for line in PROC.read(pid, f"task/{tid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return tid
