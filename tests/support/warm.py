"""An interpreter that has imported libswap: a fork of it is a command with only the work left."""

import compileall
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

import libswap
from libswap.__main__ import main

_PR_SET_PTRACER: Final = 0x59616D61  # Yama lets only ancestors trace: prctl(2)
_ANYBODY: Final = ctypes.c_ulong(-1)
_ALONE: Final = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "--")


class Warm:
    """Runs commands of libswap, one at a time, where a superuser sees no processes but these."""

    def __init__(self, server: "subprocess.Popen[str]") -> None:
        self._server = server

    def traced(self, strace: Sequence[str], words: Sequence[str], *, cold: bool = False) -> int:
        """Run `libswap WORDS` under strace from its first call on.

        Args:
            strace: the tracer with its options.
            words: the command line.
            cold: start `python -m libswap` for it instead of a fork.

        Returns:
            The status of the command, negative for the signal it died of.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([cold, strace, words]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@contextmanager
def warm() -> Iterator[Warm]:
    """Start the interpreter; it ends with the block.

    The bytecode is there before: the first to write it would make more calls than the others.
    """
    compileall.compile_dir(libswap.__path__[0], quiet=1)
    alone = _ALONE if os.geteuid() == 0 else ()
    with subprocess.Popen(
        [*alone, sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield Warm(server)
        server.communicate()


def _serve() -> None:
    _import_all()
    gc.freeze()  # no fork copies all this because it looks for garbage
    for line in sys.stdin:
        cold, strace, words = json.loads(line)
        status = _cold(strace, words) if cold else _forked(strace, words)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _import_all() -> None:
    """What a command imports while it runs is imported before."""
    for module in pkgutil.walk_packages(libswap.__path__, "libswap."):
        if "__main__" not in module.name and ".fleet" not in module.name:
            importlib.import_module(module.name)


def _cold(strace: list[str], words: list[str]) -> int:
    command = [*strace, sys.executable, "-m", "libswap", *words]
    null = subprocess.DEVNULL
    return subprocess.run(command, stdin=null, stdout=null, stderr=null, check=False).returncode


def _forked(strace: list[str], words: list[str]) -> int:
    """The fork waits until it is traced."""
    traced, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        _become(words, traced)
    os.close(traced)
    with subprocess.Popen(
        [*strace, "-p", str(child)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        os.close(tell)
        tracer.communicate()
    _, status = os.waitpid(child, 0)
    assert "attached" in said, said
    return os.waitstatus_to_exitcode(status)


def _become(words: list[str], traced: int) -> NoReturn:
    """The command, once nobody can write to the pipe any more."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.read(traced, 1)
    os.close(traced)
    os.close(null)
    sys.argv[1:] = words
    code = 1
    try:
        code = main()
    finally:
        os._exit(code)  # with nothing torn down of all that was imported


if __name__ == "__main__":
    _serve()
