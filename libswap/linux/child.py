"""A program that we start, talk to a line at a time, and see end."""

import os
import select
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from libswap.errors.base import ProgramFailed
from libswap.linux.signals import name_of

_CHUNK: Final = 4096
_LONGEST_LINE: Final = 1 << 16


class Child:
    """A running program with a pipe to its standard input and one from its standard output.

    It is killed at the end of the `with` block, whatever happened in between.

    Attributes:
        pid: its PID; it means this program until the block ends, since nobody else reaps it.
    """

    def __init__(self, argv: Sequence[str], *, directory: str, timeout: float) -> None:
        """Start it.

        Args:
            argv: the path of the program and its words.
            directory: where it runs.
            timeout: seconds that it may take for one answer or for its end.

        Raises:
            ProgramFailed: it could not be started.
        """
        self._name, self._timeout, self._heard = argv[0], timeout, b""
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
                cwd=directory,
                bufsize=0,
            )
        except OSError as error:
            raise ProgramFailed(argv[0], error.strerror or str(error)) from error
        self.pid: Final = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._process.kill()
        with self._process:
            pass

    def ask(self, line: str) -> str | None:
        """Write a line and read one back.

        Returns:
            Its answer without the newline; None when it ended instead.

        Raises:
            ProgramFailed: it neither answered nor ended in time.
        """
        assert self._process.stdin is not None  # noqa: S101  a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(os.fsencode(f"{line}\n"))
        return self.hear()

    def hear(self) -> str | None:
        """The next line that it writes, or None when it ended; otherwise like `ask`."""
        assert self._process.stdout is not None  # noqa: S101  a pipe
        deadline = time.monotonic() + self._timeout
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ProgramFailed(self._name, f"it gave no answer in {self._timeout:g} seconds")
            if len(self._heard) > _LONGEST_LINE:
                raise ProgramFailed(self._name, "its line has no end")
            if not poll.poll(left * 1000):
                continue
            piece = os.read(self._process.stdout.fileno(), _CHUNK)
            if not piece:
                return None
            self._heard += piece
        line, self._heard = self._heard.split(b"\n", 1)
        return os.fsdecode(line)

    def ended(self) -> str:
        """Wait for its end.

        Returns:
            The name of the signal that ended it, such as "SIGSEGV"; "" when it ended by itself.

        Raises:
            ProgramFailed: it did not end in time.
        """
        try:
            status = self._process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(self._name, "it does not end") from None
        return name_of(-status) if status < 0 else ""
