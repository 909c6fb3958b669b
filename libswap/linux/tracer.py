"""The thread of ours that traces a process: what it could not let go, the kernel does when it ends.

ptrace(2) is between threads. One of the target's that enters an uninterruptible wait between our
look and our seizing it stops for nobody and cannot be detached from; it would hang, as soon as it
came out of its wait, for as long as its tracer lives.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

Result = TypeVar("Result")

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
        tracer.join()
    except BaseException as interruption:
        tracer.break_off(type(interruption))
        raise
    finally:
        tracer.await_end()
    return tracer.outcome()


class _Tracer(threading.Thread, Generic[Result]):
    def __init__(self, work: Callable[[], Result]) -> None:
        super().__init__(name="tracer")
        self._work = work
        self._made: list[Result] = []
        self._error: BaseException | None = None
        self._unwanted = False

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            if not self._unwanted:
                self._made.append(self._work())
        except BaseException as error:  # noqa: BLE001  raised again by `outcome`
            self._error = error

    def outcome(self) -> Result:
        """What the work gave, or raised."""
        if self._error is not None:
            raise self._error
        return self._made[0]

    def break_off(self, kind: type[BaseException]) -> None:
        """Raise it in the thread, and wait until it has cleaned up after itself."""
        self._unwanted = True
        if self.ident is not None:
            number, what = ctypes.c_ulong(self.ident), ctypes.py_object(kind)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(number, what)
        while self.is_alive():
            try:
                self.join()
            except KeyboardInterrupt:
                continue  # others stand still until it has put everything back

    def await_end(self) -> None:
        """Until the kernel knows no such thread any more: it has detached from everything then."""
        task = Path(f"/proc/self/task/{self.native_id}")
        deadline = time.monotonic() + _TO_BE_GONE
        while self.native_id and task.exists() and time.monotonic() < deadline:
            time.sleep(_PAUSE)
