"""Run as a program: give up every right and all but a little room, then become another program.

A program of its own, because what runs between fork and exec must not wait for locks that another
thread of ours held at the fork; and it imports nothing of ours.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Become `argv[4:]`, with the rights of user `argv[1]` unless that is -1.

    `argv[2]` is the most memory in bytes, `argv[3]` the most processor time in seconds. It can
    write no file and start no thread or process.
    """
    uid, memory, seconds = map(int, sys.argv[1:4])
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
    ):
        _, ceiling = resource.getrlimit(limit)
        lowest = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(limit, (lowest, lowest))
    if uid != -1:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    # Only now: a user that has too many processes already may not execve(2) after setresuid(2).
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python
        signal.signal(ignored, signal.SIG_DFL)
    os.execve(sys.argv[4], sys.argv[4:], {})  # noqa: S606  without a shell is what is wanted


if __name__ == "__main__":
    main()
