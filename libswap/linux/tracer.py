"""The thread of ours that traces a process: what it could not let go, the kernel does when it ends.

ptrace(2) is between threads. One of the target's that enters an uninterruptible wait between our
look and our seizing it stops for nobody and cannot be detached from; it would hang, as soon as it
came out of its wait, for as long as its tracer lives.

An interruption (Ctrl-C) is raised in that thread, anywhere between two instructions of Python. That
must not happen while it holds threads of the target: between a request to the kernel and our noting
that it was made, what cleans up would go by a state that is not so. There it waits (`unbroken`).
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

Result = TypeVar("Result")

_UNHEARD: Final = 0.1
"""Seconds: a signal that comes just as a wait begins is noted; its handler runs when that ends."""
_PAUSE: Final = 0.0001
_TO_BE_GONE: Final = 5.0


def traced(work: Callable[[], Result]) -> Result:
    """Do all work on one process, on a tracer of its own that has ended when this returns.

    What is raised in there is raised here. What interrupts us (a signal's handler runs on the main
    thread alone) is raised there, so that it cleans up, and then here.
    """
    tracer = _Tracer(work)
    try:
        tracer.start()
        while tracer.is_alive():
            tracer.join(_UNHEARD)
    except BaseException as interruption:
        tracer.break_off(type(interruption))
        raise
    finally:
        tracer.await_end()
    return tracer.outcome()


@contextmanager
def unbroken() -> Iterator[None]:
    """Work that no interruption may break off; it is raised at the end, or by `heed` before."""
    tracer = threading.current_thread()
    if not isinstance(tracer, _Tracer):
        yield
        return
    with tracer.whole:
        tracer.heed()  # what was on its way when we took the lock has arrived with this call
        yield
        tracer.heed()


def heed() -> None:
    """Raise the interruption that waits for the end of `unbroken` work, if there is one."""
    tracer = threading.current_thread()
    if isinstance(tracer, _Tracer):
        tracer.heed()


def hurried() -> bool:
    """Whether an interruption waits for the end of `unbroken` work."""
    tracer = threading.current_thread()
    return isinstance(tracer, _Tracer) and tracer.waits is not None


class _Tracer(threading.Thread, Generic[Result]):
    """A thread that does all work on one process.

    Attributes:
        whole: held by the thread itself while it must not be broken off.
        waits: the interruption that has not been raised yet.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        super().__init__(name="tracer")
        self.whole: Final = threading.RLock()
        self.waits: type[BaseException] | None = None
        self._work = work
        self._made: list[Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            self.heed()
            self._made.append(self._work())
        except BaseException as error:  # noqa: BLE001  raised again by `outcome`
            self._error = error

    def outcome(self) -> Result:
        """What the work gave, or raised."""
        if self._error is not None:
            raise self._error
        return self._made[0]

    def heed(self) -> None:
        """Raise the interruption that waits, once: what cleans up after it is not for breaking."""
        with self.whole:
            kind, self.waits = self.waits, None
        if kind is not None:
            raise kind

    def break_off(self, kind: type[BaseException]) -> None:
        """Raise it in the thread, and wait until it has cleaned up after itself."""
        self.waits = kind
        while self.is_alive():
            try:
                self._interrupt()
                self.join()
            except KeyboardInterrupt:
                continue  # others stand still until it has put everything back

    def _interrupt(self) -> None:
        """Unless the thread takes it itself, at a moment of its choice."""
        with self.whole:
            if self.waits is not None and self.ident is not None:
                number, what = ctypes.c_ulong(self.ident), ctypes.py_object(self.waits)
                self.waits = None
                ctypes.pythonapi.PyThreadState_SetAsyncExc(number, what)

    def await_end(self) -> None:
        """Until the kernel knows no such thread any more: it has detached from everything then."""
        task = Path(f"/proc/self/task/{self.native_id}")
        deadline = time.monotonic() + _TO_BE_GONE
        while self.native_id and task.exists() and time.monotonic() < deadline:
            time.sleep(_PAUSE)
