"""Much reading of /proc, shared among processors by short-lived children of ours.

Threads gain nothing here: the time goes into system calls of a microsecond or two, between which
they would wait for the interpreter's lock.
"""

import marshal
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

Part = TypeVar("Part")

_WORTH_A_CHILD: Final = 400
"""So many processes take about as long to look at as ten children to make."""
_MOST: Final = 4


def in_shares(pids: Sequence[int], look: Callable[[Sequence[int]], Part]) -> list[Part]:
    """Look at processes in shares, one in each of a few children and one here.

    Args:
        pids: of the processes.
        look: makes of some of them what `marshal` can carry: built-in types only.

    Returns:
        What `look` returned for each share. The share of a child that failed is looked at here.
    """
    count = min(len(os.sched_getaffinity(0)), len(pids) // _WORTH_A_CHILD, _MOST)
    if count < 2 or threading.active_count() > 1:  # a fork takes only the calling thread along
        return [look(pids)]
    own, *others = (pids[first::count] for first in range(count))
    children = [_Child(partial(look, share)) for share in others]
    try:
        parts = [look(own)]
    finally:
        answers = [child.answer() for child in children]
    for share, answer in zip(others, answers, strict=True):
        parts.append(look(share) if answer is None else answer)
    return parts


class _Child(Generic[Part]):
    """A fork of this process that looks at one share and ends."""

    def __init__(self, act: Callable[[], Part]) -> None:
        self._reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid: int | None = os.fork()
        except OSError:
            self._pid = None  # too many processes: the share is looked at here
        if self._pid == 0:
            _act_and_exit(act, writer)
        os.close(writer)

    def answer(self) -> Part | None:
        """What the child has made of its share, or None when it failed; the child has ended."""
        with os.fdopen(self._reader, "rb") as pipe:
            data = pipe.read()
        if self._pid is not None:
            with suppress(ChildProcessError):  # SIGCHLD is ignored, and it has been reaped
                os.waitpid(self._pid, 0)
        try:
            made: Part = marshal.loads(data)  # noqa: S302  what our own fork wrote
        except (EOFError, TypeError, ValueError):
            return None
        return made


def _act_and_exit(act: Callable[[], object], writer: int) -> None:
    """All that the child does: it never returns, so that nothing else is done twice."""
    try:
        made: Any = act()
        data = marshal.dumps(made)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
    finally:
        os._exit(0)
