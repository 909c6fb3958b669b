"""Run a piece of libswap in a child that gets SIGINT right behind its N-th step, for every N."""

import os
import signal
import threading
from collections.abc import Callable, Iterator

from libswap.linux import libc
from libswap.linux.memory import ProcessMemory


def interruptions(work: Callable[[], object], *, first: int = 1, stride: int = 1) -> Iterator[int]:
    """Yields after each interruption, so that the caller looks at the target.

    A step is a request of ptrace(2) or a write to a process's memory: what was done is done, and
    nothing of ours has taken note of it yet. Ends when `work` comes to its end first.

    Args:
        work: what is interrupted; what it does to a target it does on a tracer.
        first: the first step.
        stride: every which step is tried.
    """
    for step in range(first, 100_000, stride):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _arm(step)
                work()
                code = 0
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        assert code == 130, (step, code)
        yield step
    raise AssertionError("it never came to its end")


def _arm(step: int) -> None:
    """Let the interruption come at the `step`-th step of this process, which is a child of ours."""
    left, told = step, threading.Event()
    request, write = libc.ptrace, ProcessMemory.write

    def interrupt(number: int, frame: object) -> None:
        told.set()
        signal.default_int_handler(number, frame)  # type: ignore[arg-type]

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
            told.wait()  # the main thread goes on up to where it waits for this one

    def requested(*words: object) -> object:
        result = request(*words)
        count()
        return result

    def written(memory: ProcessMemory, address: int, data: bytes) -> None:
        write(memory, address, data)
        count()

    signal.signal(signal.SIGINT, interrupt)
    libc.ptrace = requested
    ProcessMemory.write = written  # type: ignore[method-assign]
