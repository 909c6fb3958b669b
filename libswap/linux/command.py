"""Run another program: no shell, an environment of our own, bounded time and output."""

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libswap.errors.base import ProgramFailed
from libswap.linux.signals import name_of

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for; never the caller's PATH, which sudo may have let through."""

_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PATH": SEARCH_PATH, "HOME": "/", "TERM": "dumb"}
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that has ended.

    Attributes:
        argv: what was run.
        status: its exit status, or the negative number of the signal that ended it.
        stdout: the beginning of what it wrote, up to the limit.
        stderr: likewise.
        cut: whether it wrote more than the limit; the rest is gone.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    cut: bool

    @property
    def text(self) -> str:
        """The standard output; bytes that are no UTF-8 survive as surrogates."""
        return self.stdout.decode("utf-8", "surrogateescape")

    @property
    def complaint(self) -> str:
        """The last line of the standard error, or else the status: why it did not do its work."""
        lines = self.stderr.decode("utf-8", "replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return said or _ending(self.status)


def find(program: str) -> str | None:
    """The full path of a program in the standard directories, or None."""
    return shutil.which(program, path=SEARCH_PATH)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    limit: int = 1 << 24,
    environment: Mapping[str, str] | None = None,
    directory: str = "/",
    stdin: int = subprocess.DEVNULL,
) -> Completed:
    """Run a program to its end; a status other than 0 is for the caller to judge.

    Args:
        argv: the program (looked for in `SEARCH_PATH` unless it holds a slash) and its words.
        timeout: seconds after which the program and what it started are killed.
        limit: bytes that are kept of each of its two outputs.
        environment: variables on top of a fixed environment; nothing of ours is inherited.
        directory: where it runs.
        stdin: a descriptor that it reads; by default it finds nothing there.

    Raises:
        ProgramFailed: it could not be started, or did not end in time.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_ENVIRONMENT, **(environment or {})},
            executable=argv[0] if "/" in argv[0] else find(argv[0]) or argv[0],
            cwd=directory,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(argv[0], error.strerror or str(error)) from error
    with process:
        try:
            deadline = time.monotonic() + timeout
            outputs, cut = _drain(process, deadline, limit)
            status = process.wait(max(deadline - time.monotonic(), 0))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ProgramFailed(argv[0], f"it did not end within {timeout:g} seconds") from None
        finally:
            _end(process)
    return Completed(tuple(argv), status, bytes(outputs[0]), bytes(outputs[1]), cut)


def _drain(
    process: subprocess.Popen[bytes], deadline: float, limit: int
) -> tuple[list[bytearray], bool]:
    """Read both outputs to their ends, whichever way they alternate."""
    assert process.stdout is not None  # noqa: S101  both are pipes
    assert process.stderr is not None  # noqa: S101
    outputs, cut = [bytearray(), bytearray()], False
    with selectors.DefaultSelector() as selector:
        for output, pipe in zip(outputs, (process.stdout, process.stderr), strict=True):
            selector.register(pipe, selectors.EVENT_READ, output)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else ()
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, _CHUNK)
                if not piece:
                    selector.unregister(key.fileobj)
                room = limit - len(key.data)
                cut = cut or len(piece) > room
                key.data.extend(piece[:room])
    return outputs, cut


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs; the session is its own, so this reaches nobody else.

    Before the program is reaped its PID cannot be another's; afterwards nothing is sent.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ending(status: int) -> str:
    if status < 0:
        return f"it was ended by {name_of(-status)}"
    return f"it ended with status {status}"
