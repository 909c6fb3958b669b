"""Run a piece of libswap in a child that gets SIGINT right behind its N-th step, for every N."""

import io
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout

from libswap.cli.app import run
from libswap.linux import libc
from libswap.linux.memory import ProcessMemory
from libswap.linux.procfs import PROC


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
        if not interrupted(work, step):
            return
        yield step
    raise AssertionError("it never came to its end")


def interrupted(work: Callable[[], object], step: int) -> bool:
    """Do it in a child that gets SIGINT behind this step; whether it came to that."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _arm(step)
            work()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException:  # noqa: BLE001  nothing may come out of this copy of the test
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:  # the test is out of time: nobody else would let the target go
        os.kill(child, signal.SIGKILL)
        raise
    assert code in (0, 130), (step, code)
    return code == 130


def command(*words: object) -> None:
    """A whole command, which says by its exit code alone that it was interrupted.

    Raises:
        KeyboardInterrupt: it was.
    """
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run([str(word) for word in words])
    assert code in (0, 130), said.getvalue()
    assert "Traceback" not in said.getvalue(), said.getvalue()
    if code == 130:
        raise KeyboardInterrupt


def require_let_go(pid: int) -> None:
    """Nobody traces a thread of the process, and none stands still."""
    for tid in PROC.tids(pid):
        status = PROC.read(pid, f"task/{tid}/status").decode()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["TracerPid"].strip() == "0", status
        assert fields["State"][0] not in "Tt", status


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
