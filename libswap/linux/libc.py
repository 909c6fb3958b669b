"""One table of the C library functions that Python does not offer, each with its full signature."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_long, c_size_t, c_uint, c_void_p
from typing import Any, Final, TypeAlias


class IoVec(ctypes.Structure):
    """`struct iovec` (ptrace(2), PTRACE_GETREGSET)."""

    _fields_ = (("base", c_void_p), ("length", c_size_t))


_Signature: TypeAlias = tuple[Any, tuple[Any, ...]]

# name: (result, arguments), as in the manual page of that name in section 2
_SIGNATURES: Final[dict[str, _Signature]] = {
    "renameat2": (c_int, (c_int, c_char_p, c_int, c_char_p, c_uint)),
    "statx": (c_int, (c_int, c_char_p, c_int, c_uint, c_void_p)),
    "ptrace": (c_long, (c_long, c_int, c_void_p, c_void_p)),
    "waitpid": (c_int, (c_int, POINTER(c_int), c_int)),
    # openat2(2), which glibc does not wrap
    "syscall": (c_long, (c_long, c_int, c_char_p, c_void_p, c_size_t)),
}

_library = ctypes.CDLL(None, use_errno=True)


def _function(name: str) -> Any:  # noqa: ANN401  a ctypes function has no better static type
    function = getattr(_library, name)
    function.restype, function.argtypes = _SIGNATURES[name]
    return function


renameat2 = _function("renameat2")
statx = _function("statx")
ptrace = _function("ptrace")
waitpid = _function("waitpid")
syscall = _function("syscall")


def check(result: int, path: str | bytes | None = None) -> int:
    """Turn a result of -1 into the `OSError` that errno stands for.

    Returns:
        `result`, when the call succeeded.

    Raises:
        OSError: the call failed; `path` becomes its filename.
    """
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result
