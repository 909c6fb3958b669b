"""The steps of a piece of libswap: every ptrace request and every write to another process."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import libswap
from libswap.linux import death

_ROOT = str(Path(libswap.__file__).parent)
_TOLD = 4


def kinds(work: Callable[[], None]) -> list[tuple[str, ...]]:
    """Do it in a child, and give for each step the innermost functions that led to it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _tell(work, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = [tuple(line.split()) for line in pipe]
    assert os.waitpid(child, 0)[1] == 0, "the work itself failed"
    return found


def of_each_kind(steps: Sequence[tuple[str, ...]]) -> list[int]:
    """The first and the last step of each kind, counted from 1."""
    first: dict[tuple[str, ...], int] = {}
    last: dict[tuple[str, ...], int] = {}
    for number, kind in enumerate(steps, 1):
        first.setdefault(kind, number)
        last[kind] = number
    return sorted({*first.values(), *last.values()})


def killed(work: Callable[[], None], step: int) -> bool:
    """Do it in a child that kills itself instead of making this step; whether it came to that."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            death.arm(step)
            work()
            code = 0
        except BaseException:  # noqa: BLE001  nothing may come out of this copy of the test
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), "the work itself failed"
    return status != 0


def _tell(work: Callable[[], None], writing: int) -> None:
    code = 1
    try:
        with os.fdopen(writing, "w") as pipe:
            death.step = lambda: pipe.write(" ".join(_stack()) + "\n") and None  # type: ignore[assignment]
            work()
        code = 0
    except BaseException:  # noqa: BLE001  nothing may come out of this copy of the test
        traceback.print_exc()
    finally:
        os._exit(code)


def _stack() -> list[str]:
    """The innermost calling functions of libswap."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < _TOLD:
        code = frame.f_code
        if code.co_filename.startswith(_ROOT):
            found.append(code.co_qualname)
        frame = frame.f_back
    return found
