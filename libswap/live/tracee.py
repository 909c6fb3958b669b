"""A process under ptrace: all of its threads stopped together, and let go again.

`with Tracee.seize(identity) as tracee: tracee.stop(deadline)` makes every thread stand still until
the end of the block. What job control had stopped still is stopped afterwards. There is no going on
under our eyes but for a moment that is waited for (`let_on`): a traced thread that nobody waits for
hangs at its next signal.
"""

import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from libswap.errors.process import ProcessGone, ProcessReplaced, ThreadUnstoppable
from libswap.live import stops
from libswap.live.thread import Thread, ThreadGone, is_alive, live_threads, state
from libswap.process.identity import Identity
from libswap.process.maps import Mapping, maps_of

# A starved thread that we left too early would hang in its stop for as long as we live.
_PATIENCE_WITH_LETTING_GO: Final = 15.0
_PATIENCE_WITH_THE_UNINTERRUPTIBLE: Final = 0.25
_ROUNDS_BETWEEN_LOOKS: Final = 64


class Tracee:
    """Every thread of one process, seized.

    Attributes:
        identity: the process.
        threads: its threads by thread id.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity: Final = identity
        self.threads: dict[int, Thread] = {}

    @classmethod
    def seize(cls, identity: Identity) -> Self:
        """Become the tracer of every thread; all go on running.

        Raises:
            ProcessGone: it has ended.
            SystemRefused: the kernel does not let us (see `refusal` for why, beforehand).
        """
        tracee = cls(identity)
        try:
            identity.check()
            tracee._seize_all()
            identity.check()  # of what we hold now the PID cannot be given to another
        except BaseException:
            tracee.detach()
            raise
        return tracee

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def stop(self, deadline: float, tids: Collection[int] | None = None) -> None:
        """Stop every thread, or those of them that are named: ask all first, then collect.

        Raises:
            ProcessGone: it ended.
            ThreadUnstoppable: a thread did not stop until `deadline` (monotonic seconds).
            ProcessReplaced: it executed another program.
        """
        awaited = [
            t for t in self.threads.values() if not t.stopped and (tids is None or t.tid in tids)
        ]
        for thread in awaited:
            thread.interrupt()
        self._collect(awaited, deadline)
        if not self.threads:
            raise ProcessGone(self.identity.pid)

    def let_on(self, tids: Collection[int], seconds: float, deadline: float) -> list[Thread]:
        """Let some stopped threads go on for a moment, while the others stand still.

        One that job control has stopped stays so.

        Returns:
            Those of them that have not ended, and what they have made; all stand still again.

        Raises:
            ProcessGone, ThreadUnstoppable, ProcessReplaced: see `stop`.
        """
        others = self.threads.keys() - set(tids)
        for tid in tids:
            if not self.threads[tid].group:
                with suppress(ThreadGone):
                    self.threads[tid].resume()
        time.sleep(seconds)
        self.stop(deadline)
        return [t for tid, t in self.threads.items() if tid not in others]

    def maps(self) -> tuple[Mapping, ...]:
        """The mappings of the process, seen through one of its threads.

        Raises:
            ProcessGone: all of them have ended.
        """
        for tid in self.threads:
            with suppress(ProcessGone):
                if maps := maps_of(tid):
                    return maps
        raise ProcessGone(self.identity.pid)

    def detach(self) -> None:
        """Let every thread go for good, the one that was stopped last first.

        A running one is stopped for a moment, as ptrace wants.

        Raises:
            ThreadUnstoppable: a thread in an uninterruptible wait is still ours; it is let go when
                our thread ends (see `tracer`).
        """
        threads = sorted(self.threads.values(), key=lambda t: t.since, reverse=True)
        self.threads.clear()
        let_go(threads)

    def _seize_all(self) -> None:
        """Until a pass finds no new thread; new ones of seized threads are seized by the kernel."""
        new = live_threads(self.identity.pid)
        while new:
            for tid in new:
                self._seize_one(tid)
            new = [t for t in live_threads(self.identity.pid) if t not in self.threads]

    def _seize_one(self, tid: int) -> None:
        thread = Thread(self.identity.pid, tid)
        try:
            thread.seize(and_newborn=True)
        except ThreadGone:
            return
        self.threads[tid] = thread

    def _collect(self, awaited: list[Thread], deadline: float) -> None:
        rounds = 0

        def ask() -> stops.Stop | None:
            nonlocal awaited, rounds
            rounds += 1
            look = rounds % _ROUNDS_BETWEEN_LOOKS == 0
            awaited = self._still_running(awaited, look=look)
            return None if awaited else stops.Trapped(group=False)

        if stops.until(ask, deadline) is None:
            slow = awaited[0]
            raise ThreadUnstoppable(slow.pid, slow.tid, state(slow.pid, slow.tid))

    def _still_running(self, awaited: list[Thread], *, look: bool) -> list[Thread]:
        running = []
        for thread in awaited:
            try:
                stopped = thread.poll()
            except ThreadGone:
                self.threads.pop(thread.tid, None)
                continue
            running += self._newborn(thread)
            if stopped:
                continue
            if look and not is_alive(thread.pid, thread.tid):
                self.threads.pop(thread.tid, None)
                continue
            running.append(thread)
        return running

    def _newborn(self, parent: Thread) -> list[Thread]:
        """The threads that one made: they stop by themselves before their first instruction."""
        made = [t for t in parent.newborn() if t.tid not in self.threads]
        self.threads.update((t.tid, t) for t in made)
        return made


def let_go(threads: Iterable[Thread]) -> None:
    """Detach from threads; a running one is stopped for a moment, as ptrace wants it.

    Raises:
        ThreadUnstoppable: one in an uninterruptible wait is still ours. The kernel lets it go when
            our thread ends (see `tracer`).
    """
    running = []
    for thread in threads:
        if thread.stopped:
            thread.detach()
        else:
            thread.interrupt()
            running.append(thread)

    def ask() -> stops.Stop | None:
        nonlocal running
        running = [left for thread in running for left in _still_held(thread)]
        return None if running else stops.Ended()

    end = time.monotonic() + _PATIENCE_WITH_LETTING_GO
    while running:
        soon = time.monotonic() + _PATIENCE_WITH_THE_UNINTERRUPTIBLE
        if stops.until(ask, soon) is None:
            letters = {state(t.pid, t.tid): t for t in running}
            if letters.keys() == {"D"} or soon > end:
                letter, left = letters.popitem()
                raise ThreadUnstoppable(left.pid, left.tid, letter)


def _still_held(thread: Thread) -> list[Thread]:
    try:
        stopped = thread.poll()
    except (ThreadGone, ProcessReplaced):
        return []
    if stopped:
        thread.detach()
        return thread.newborn()
    return [thread, *thread.newborn()] if is_alive(thread.pid, thread.tid) else thread.newborn()
