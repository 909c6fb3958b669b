"""Much reading of /proc, shared among processors by short-lived children of ours.

Threads gain nothing here: the time goes into system calls of a microsecond or two, between which
they would wait for the interpreter's lock.
"""

import marshal
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

Part = TypeVar("Part")

_WORTH_A_CHILD: Final = 400
"""So many processes take about as long to look at as ten children to make."""
_MOST: Final = 4
_PIECES: Final = 128
"""Numbers that fit into a byte each, and all of them into a pipe."""


class Shares(Generic[Part]):
    """Processes that are looked at by a few children at once, and by us when we come to it.

    Whoever is free takes the next piece of them: its number, from a pipe that all read.
    """

    def __init__(self, pids: Sequence[int], look: Callable[[Iterable[int]], Part]) -> None:
        """Begin, in children.

        Args:
            pids: of the processes.
            look: makes of some of them what `marshal` can carry: built-in types only.
        """
        self._pids, self._look = pids, look
        self._children: list[_Child[Part]] = []
        self._queue = -1
        count = min(len(os.sched_getaffinity(0)), len(pids) // _WORTH_A_CHILD, _MOST)
        if count < 2 or threading.active_count() > 1:  # a fork takes only the calling thread along
            return
        self._queue, writer = os.pipe2(os.O_CLOEXEC)
        os.write(writer, bytes(range(_PIECES)))
        os.close(writer)
        with suppress(OSError):  # too many processes: who is there takes all
            for _ in range(count - 1):
                self._children.append(_Child(partial(look, self._taken())))

    def parts(self) -> list[Part]:
        """Take part, until all has been looked at; what `look` returned here and in each child.

        What a child that failed had taken is not known: then all is looked at here.
        """
        if self._queue < 0:
            return [self._look(self._pids)]
        try:
            own = self._look(self._taken())
        finally:
            os.close(self._queue)
            answers = [child.answer() for child in self._children]
        made = [answer for answer in answers if answer is not None]
        return [own, *made] if len(made) == len(answers) else [self._look(self._pids)]

    def _taken(self) -> Iterator[int]:
        while number := os.read(self._queue, 1):
            yield from self._pids[number[0] :: _PIECES]


class _Child(Generic[Part]):
    """A fork of this process that takes its share and ends."""

    def __init__(self, act: Callable[[], Part]) -> None:
        self._reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.fork()
            if self._pid == 0:
                _act_and_exit(act, writer)
        except OSError:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)

    def answer(self) -> Part | None:
        """What the child has made of its share, or None when it failed; the child has ended."""
        with os.fdopen(self._reader, "rb") as pipe:
            data = pipe.read()
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
