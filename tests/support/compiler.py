"""Compile the C and C++ fixtures, each set of flags once a test run."""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler with a directory of what it has made."""

    work: Path

    def library(
        self, source: str | Path, *flags: str, name: str = "", cc: str = "cc", soname: str = ""
    ) -> Path:
        """A shared library made of fixtures/`source` (or of C text that holds a newline).

        Args:
            source: a file below fixtures/, or the source text itself.
            flags: what the compiler is given besides -shared and -fPIC.
            name: the file's name; by default that of the source.
            cc: the compiler.
            soname: DT_SONAME; none by default.
        """
        words = ["-shared", "-fPIC", *flags, *([f"-Wl,-soname,{soname}"] if soname else [])]
        return self._make(source, words, name or f"lib{_stem(source)}.so", cc)

    def program(self, source: str | Path, *flags: str, name: str = "", cc: str = "cc") -> Path:
        """A program made of fixtures/`source` (or of C text that holds a newline)."""
        return self._make(source, flags, name or _stem(source), cc)

    def object(self, source: str | Path, *flags: str, name: str = "", cc: str = "cc") -> Path:
        """A relocatable object made of fixtures/`source` (or of C text that holds a newline)."""
        return self._make(source, ["-c", *flags], name or f"{_stem(source)}.o", cc)

    def text(self, text: str, suffix: str) -> Path:
        """A file that holds this text, for a flag that names one; always the same for the same."""
        name = hashlib.sha256(text.encode()).hexdigest()[:16] + suffix
        with tempfile.NamedTemporaryFile("w", dir=self.work) as file:
            file.write(text)
            file.flush()
            with suppress(FileExistsError):  # other workers of pytest make the same
                (self.work / name).hardlink_to(file.name)
        return self.work / name

    def _make(self, source: str | Path, flags: Sequence[str], name: str, cc: str) -> Path:
        text = str(source) if "\n" in str(source) else (FIXTURES / source).read_text()
        key = hashlib.sha256("\0".join([text, cc, name, *flags]).encode()).hexdigest()[:16]
        made = self.work / key / name
        made.parent.mkdir(parents=True, exist_ok=True)
        file = made.parent / f"source{Path(source).suffix if text != str(source) else '.c'}"
        include = () if text == str(source) else ("-I", str((FIXTURES / source).parent))
        with (made.parent / "lock").open("w") as lock:  # other workers of pytest make the same
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                file.write_text(text)
                _run([cc, "-o", str(made), str(file), *include, *flags])
        return made


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def has(program: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(program) is not None


def _stem(source: str | Path) -> str:
    return "fixture" if "\n" in str(source) else Path(source).stem
