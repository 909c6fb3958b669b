"""`libswap` as a person's terminal, a pipe or a broken one sees it."""

import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from typing import Any

LIBSWAP = (sys.executable, "-m", "libswap")
PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The exit code and both outputs."""

    code: int
    out: str
    err: str


TABLE = """
from libswap.operations.demo.result import Answer, Demonstration, Scene
from libswap.report import output
from libswap.report.console import ConsoleReporter
output.guard()
name = "a name that has so many words that it does not fit into fifty columns"
scene = Scene(name, ("load", "call"), "SIGSEGV", (Answer(1, 2),), None, "", False, "")
ConsoleReporter().show("demo", Demonstration("cc", (scene,), ()))
"""
"""A program that shows a table with colours, letters beyond ASCII and long lines."""
SHOWING_A_TABLE = (sys.executable, "-c", TABLE)


def libswap(
    *words: str,
    program: Sequence[str] = LIBSWAP,
    environment: Mapping[str, str] = {},
    **options: Any,
) -> Seen:
    """Run it with pipes for outputs.

    Args:
        words: the command line.
        program: what is run instead of libswap itself.
        environment: variables on top of a plain environment without COLUMNS and the like.
        options: of subprocess.run.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run(
        [*program, *words],
        stdin=subprocess.DEVNULL,
        env={**_plain(), **environment},
        text=True,
        check=False,
        timeout=PATIENCE,
        **pipes,
    )
    return Seen(done.returncode, done.stdout or "", done.stderr or "")


def on_terminal(
    *words: str,
    program: Sequence[str] = LIBSWAP,
    columns: int = 80,
    environment: Mapping[str, str] = {},
) -> Seen:
    """Run it on a terminal of its own; both outputs are one."""
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*program, *words],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**_plain(), "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # EIO: the other end of the terminal is closed (pty(7))
        pass
    os.close(ours)
    return Seen(process.wait(PATIENCE), shown.decode(), "")


def _plain() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
