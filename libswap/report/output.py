"""The standard output and error, which may be full, closed, or left by their reader."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from libswap.errors.base import ReaderGone, SystemRefused


class StandardOutput(io.TextIOWrapper):
    """`sys.stdout` with what the world does to it in our terms, whoever writes.

    Characters that its encoding does not know become escapes. After a failure nothing more is
    written, so that the interpreter does not fail again when it ends.

    Raises:
        ReaderGone: by write and flush, when nobody reads the pipe any more.
        SystemRefused: by write and flush, when it is closed or full.
    """

    def write(self, text: str) -> int:
        """Write text, which may stay in the buffer."""
        with _translated():
            return super().write(text)

    def flush(self) -> None:
        """Hand on what is in the buffer."""
        with _translated():
            super().flush()


def guard() -> None:
    """Put a `StandardOutput` in the place of `sys.stdout`."""
    buffer = sys.stdout.buffer if sys.stdout is not None else io.BufferedWriter(_Closed())
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    sys.stdout = StandardOutput(buffer, encoding, "backslashreplace")


def say(text: str) -> None:
    """Write a message to the standard error; if even that is refused there is nobody to tell."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


class _Closed(io.RawIOBase):
    """A descriptor that was closed before the program began."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  to the end
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from None
        refused = error.strerror or str(error)
        raise SystemRefused("write to", "the standard output", refused) from error
