"""Whether a process has ended, or is about to and cannot help it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC
from libswap.process.identity import Identity

_EXITING: Final = 0x4 | 0x8
"""PF_EXITING and PF_POSTCOREDUMP, bits of a thread's flags (include/linux/sched.h)."""
_KILL: Final = 1 << (signal.SIGKILL - 1)
_FLAGS: Final = 6
"""Of a thread's stat behind its name (proc_pid_stat(5), field 9)."""


@contextmanager
def while_it_lives(identity: Identity) -> Iterator[None]:
    """Of a process that has ended, whatever went wrong in the block means that.

    A file of it in /proc that is no longer there is what went wrong most often.

    Raises:
        ProcessGone: it ended.
    """
    try:
        yield
    except (LibswapError, FileNotFoundError, ProcessLookupError) as error:
        if is_ending(identity):
            raise ProcessGone(identity.pid) from error
        raise


def is_ending(identity: Identity) -> bool:
    """Whether each of its threads has ended, was killed, or waits for a core dump to be written."""
    try:
        identity.check()
        tids = PROC.tids(identity.pid)
    except (ProcessGone, FileNotFoundError, ProcessLookupError):
        return True
    return all(_is_ending(identity.pid, tid) for tid in tids)


def _is_ending(pid: int, tid: int) -> bool:
    try:
        stat = PROC.read_line(pid, f"task/{tid}/stat")
        status = PROC.read(pid, f"task/{tid}/status")
    except (FileNotFoundError, ProcessLookupError):
        return True
    words = stat[stat.rindex(b")") + 2 :].split()
    if words[0] in (b"Z", b"X") or int(words[_FLAGS]) & _EXITING:
        return True
    fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
    pending = int(fields[b"SigPnd"], 16) | int(fields[b"ShdPnd"], 16)
    return bool(pending & _KILL) or fields.get(b"CoreDumping", b"").strip() == b"1"
