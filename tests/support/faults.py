"""Make one system call of a command fail, or be its last, with strace's inject."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libswap.install.exclusion import alone_in
from support.warm import Warm

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
    """A command of libswap under strace.

    Attributes:
        directories: calls that touch anything below these are the ones that count.
        warm: runs it.
    """

    directories: tuple[Path, ...]
    warm: Warm

    def record(self, words: Sequence[str], log: Path, *, names: bool) -> list[Call]:
        """Run a command, started for this, and list its calls that change anything there.

        Args:
            words: its command line.
            log: where strace writes.
            names: list the files it creates; otherwise all other calls. The former are counted by
                the directory: with processes to look at nobody opens as many files twice.
        """
        with alone_in((), 0):
            pass  # the place of the locks is there: only the first command after a boot makes it
        if names:
            options = [*self._paths(), "-e", "trace=openat"]
        else:
            options = ["-e", f"trace={','.join(name for name in CHANGING if name != 'openat')}"]
        self._run(words, log, options, cold=True)
        calls = self._calls(log)
        return [call for call in calls if "O_CREAT" in call.text] if names else calls

    def inject(
        self, words: Sequence[str], call: Call, fault: str, log: Path, *, cold: bool = False
    ) -> int:
        """Run a command with one fault, and make sure that it happened where it was recorded.

        Returns:
            The command's status, negative for the signal it died of.
        """
        what = "signal=SIGKILL" if fault == "SIGKILL" else f"error={fault}"
        paths = self._paths() if call.name == "openat" else []
        inject = f"inject={call.name}:{what}:when={call.ordinal}"
        options = [*paths, "-e", f"trace={call.name}", "-e", inject]
        status = self._run(words, log, options, cold=cold)
        struck = [line for line in log.read_text(errors="replace").splitlines() if _struck(line)]
        assert [_shape(line) for line in struck] == [_shape(call.text)], (call, struck)
        return status

    def _run(self, words: Sequence[str], log: Path, options: Sequence[str], *, cold: bool) -> int:
        return self.warm.traced(["strace", "-y", "-o", str(log), *options], words, cold=cold)

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
    return [re.sub(r"\b[0-9a-f]+\b|[0-9a-f]{4,}|\d", "", name) for name in names]
