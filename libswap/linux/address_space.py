"""Whether two processes have one memory (kcmp(2))."""

import ctypes
from typing import Final

from libswap.linux import libc

_KCMP: Final = 312
_VM: Final = 1


def shares_memory(one: int, other: int) -> bool:
    """Whether two processes have the same address space, as a vfork child and its parent have.

    Args:
        one: a process id.
        other: another.

    Returns:
        False too where the kernel does not say: one has ended, we may not ask, or it has no kcmp.
    """
    # The second process id takes the place of a pointer in the signature of syscall(2).
    answer: int = libc.syscall(_KCMP, one, ctypes.c_char_p(other), ctypes.c_void_p(_VM), 0)
    return answer == 0
