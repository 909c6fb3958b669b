"""Make one system call of a real command fail, or be its last, with strace's inject."""

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHANGING: Final = (
    "openat", "write", "pwrite64", "copy_file_range", "fsync", "ftruncate", "linkat", "renameat",
    "renameat2", "unlinkat", "symlinkat", "mkdirat", "fchmod", "fchown", "fsetxattr", "utimensat",
    "flock",
)  # fmt: skip
"""What changes files; a crash before any other call is the same as one before the next of these."""

CAN_FAIL: Final = {
    "EIO": CHANGING,
    "ENOSPC": ("openat", "write", "pwrite64", "copy_file_range", "fsync", "linkat", "renameat",
               "renameat2", "symlinkat", "mkdirat"),
    "EINTR": ("openat", "write", "pwrite64", "copy_file_range", "fsync"),
}  # fmt: skip
"""Which calls say what, by their manual pages."""

_LINE: Final = re.compile(r"(\w+)\((.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call of a recorded run.

    Attributes:
        name: of the call.
        ordinal: which of its name it is, from 1, as strace counts for `when=`.
        text: its arguments and result.
    """

    name: str
    ordinal: int
    text: str


@dataclass(frozen=True, slots=True)
class Traced:
    """A command under strace.

    Attributes:
        directories: calls that touch anything below these are the ones that count.
    """

    directories: tuple[Path, ...]

    def record(self, command: Sequence[str], log: Path, *, names: bool) -> list[Call]:
        """Run a command and list its calls that change anything in the directories.

        Args:
            command: what to run.
            log: where strace writes.
            names: list the files it creates; otherwise all other calls. The former are counted by
                the directory: with processes to look at nobody opens as many files twice.
        """
        if names:
            self._run(command, log, *self._paths(), "-e", "trace=openat")
            return [call for call in self._calls(log) if "O_CREAT" in call.text]
        others = [name for name in CHANGING if name != "openat"]
        self._run(command, log, "-e", f"trace={','.join(others)}")
        return self._calls(log)

    def inject(self, command: Sequence[str], call: Call, fault: str, log: Path) -> int:
        """Run a command with one fault, and make sure that it happened.

        Returns:
            The command's status, negative for the signal it died of.
        """
        what = "signal=SIGKILL" if fault == "SIGKILL" else f"error={fault}"
        paths = self._paths() if call.name == "openat" else ()
        inject = f"inject={call.name}:{what}:when={call.ordinal}"
        status = self._run(command, log, *paths, "-e", f"trace={call.name}", "-e", inject)
        struck = [line for line in log.read_text(errors="replace").splitlines() if _struck(line)]
        assert [_shape(line) for line in struck] == [_shape(call.text)], call
        return status

    def _run(self, command: Sequence[str], log: Path, *options: str) -> int:
        done = subprocess.run(
            ["strace", "-y", "-o", str(log), *options, *command],
            check=False,
            capture_output=True,
            timeout=60,
        )
        return done.returncode

    def _paths(self) -> list[str]:
        return [word for path in self.directories for word in ("-P", str(path))]

    def _calls(self, log: Path) -> list[Call]:
        count: Counter[str] = Counter()
        calls = []
        for line in log.read_text(errors="replace").splitlines():
            if match := _LINE.match(line):
                count[match[1]] += 1
                if any(f"{path}" in match[2] for path in self.directories):
                    calls.append(Call(match[1], count[match[1]], match[2]))
        return calls


def _struck(line: str) -> bool:
    """Whether strace made this call fail, or the process died in it."""
    return line.endswith("(INJECTED)") or (line.endswith("= ?") and not line.startswith("exit"))


def _shape(text: str) -> list[str]:
    """What a call touches, without what differs from run to run: directories, numbers, ids."""
    names = re.findall(r"<[^>]*?([^/>]*)>", text.partition(" = ")[0])
    return [re.sub(r"[0-9a-f]{4,}|\d", "", name) for name in names]
