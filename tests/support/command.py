"""The command line as a user runs it: a process of its own that answers with one JSON document."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from libswap.cli.app import run

# An installed libswap has its bytecode; compiling it in every run would take most of the time.
_UNWANTED: Final = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended.

    Attributes:
        code: the exit code.
        document: what it printed; empty where that was no JSON document.
        said: everything it printed, for the message of a failing test.
    """

    code: int
    document: dict[str, Any]
    said: str

    @classmethod
    def of(cls, code: int, said: str) -> Self:
        """What a run that has ended so printed."""
        try:
            document = json.loads(said)
        except json.JSONDecodeError:
            document = {}
        return cls(code, document, said)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.said}"


@dataclass(frozen=True, slots=True)
class Libswap:
    """`libswap` with a state directory of the test.

    Attributes:
        state: --state-dir of every run.
        inside: a process whose mount namespace it runs in; ours by default.
        patience: seconds after which a run has failed.
    """

    state: Path
    inside: int | None = None
    patience: float = 100.0

    def words(self, *words: object) -> list[str]:
        """The whole command line."""
        enter = ["nsenter", f"--target={self.inside}", "--mount", "--"] if self.inside else []
        run = [sys.executable, "-m", "libswap", *map(str, words), "--json"]
        # What patches need to know is in the processes.
        place = [] if words[0] == "patch" else ["--state-dir", str(self.state)]
        return [*enter, *run, *place]

    def move(self, new: Path, library: Path, *options: object) -> Done:
        """Install and move all processes that use it."""
        installed = self("install", new, library, "--yes")
        assert installed.code == 0, installed
        return self("live", library, "--wait=30", *options)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """A run that the test will wait for, or end."""
        return subprocess.Popen(
            self.words(*words),
            env={k: v for k, v in os.environ.items() if k != _UNWANTED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *words: object) -> Done:
        """Run it to its end."""
        with self.start(*words) as process:
            try:
                said, _ = process.communicate(timeout=self.patience)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
                raise AssertionError(f"libswap {words} did not end: {said}") from None
        return Done.of(process.returncode, said)

    def here(self, *words: object) -> Done:
        """Run it in this process, where no start of an interpreter is part of what is tested."""
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            code = run([*map(str, words), "--json", "--state-dir", str(self.state)])
        return Done.of(code, said.getvalue())
