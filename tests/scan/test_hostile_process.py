"""A stranger's process that hopes root's tool will run, import or believe something of it.

What needrestart fell for in 2022 and 2024 (docs/explanation/security.md goes through it).
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.compiler import Compiler, has
from support.holders import COUNTER, hold, holder

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(not has("strace"), reason="strace is not installed"),
]

NAME = "lib$(touch proof);`touch proof`&\n\x1b[2J[red]' \"|"
"""A shell, a regular expression, a terminal, markup and Perl's open() each have a use for it."""
PROGRAMS = (
    "python3", "ruby", "perl", "sh", "bash", "ldd", "ldconfig", "dpkg", "dpkg-query", "rpm",
    "systemctl", "abidiff", "libswap",
)  # fmt: skip
MODULES = ("sitecustomize", "usercustomize", "json", "re", "rich", "psutil", "libswap", "typer")


@dataclass(frozen=True, slots=True)
class Trap:
    """A directory of files that leave a proof when somebody runs or imports them."""

    place: Path
    library: Path

    @property
    def proof(self) -> Path:
        return self.place / "proof"

    @property
    def environment(self) -> dict[str, str]:
        """Every variable by which one program makes another load code."""
        here = str(self.place)
        paths = ("PATH", "PYTHONPATH", "RUBYLIB", "PERL5LIB", "LD_LIBRARY_PATH", "GCONV_PATH")
        return {
            **dict.fromkeys(paths, here),
            "PYTHONSTARTUP": f"{here}/sitecustomize.py",
            "RUBYOPT": "-rjson", "PERL5OPT": "-Mjson",
            "BASH_ENV": f"{here}/sh", "ENV": f"{here}/sh",
        }  # fmt: skip


@pytest.fixture
def trap(compiler: Compiler) -> Iterator[Trap]:
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        place.chmod(0o755)
        for name in PROGRAMS:
            file = place / name
            file.write_text(f"#!/bin/sh\n: > '{place}/proof'\n")
            file.chmod(0o755)
        for name in MODULES:
            (place / f"{name}.py").write_text(f"open({str(place / 'proof')!r}, 'w')\n")
            (place / f"{name}.rb").write_text(f"File.write({str(place / 'proof')!r}, '')\n")
            (place / f"{name}.pm").write_text(f"open my $f, '>', '{place}/proof'; 1;\n")
        text = COUNTER + (
            "#include <fcntl.h>\n__attribute__((constructor)) static void begin(void) {"
            f' if (!__builtin_strstr(MINE, "yes")) open("{place}/proof", O_CREAT | O_WRONLY, 0600);'
            " }\n"
        )
        mine = '#define MINE (getenv("MINE") ? getenv("MINE") : "")\n'
        text = f"#include <stdlib.h>\n{mine}{text}"
        library = Path(shutil.copy(compiler.library(text, soname="libtrap.so"), place / NAME))
        yield Trap(place, library)


@contextmanager
def looked_at(trap: Trap, program: Path) -> Iterator[int]:
    """A process in the trap's directory, with its environment, whose library was replaced."""
    words = [f"{name}={value}" for name, value in trap.environment.items()]
    start = ["/usr/bin/env", "-C", str(trap.place), "MINE=yes", *words, str(program)]
    user = 65534 if os.geteuid() == 0 else None
    with hold([*start, "dlopen", str(trap.library)], user=user) as held:
        again = Path(shutil.copy(trap.library, trap.place / ".again"))
        again.write_bytes(again.read_bytes() + b"\0")
        again.rename(trap.library)
        yield held.pid


def traced(trap: Trap, *words: str) -> tuple[str, list[str]]:
    """What libswap says, and each program that it executes."""
    log = trap.place / "strace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o", str(log),
         sys.executable, "-m", "libswap", *words, "--state-dir", str(trap.place / "state")],
        capture_output=True, text=True, check=False, cwd="/", timeout=100,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    executed = [line for line in log.read_text().splitlines() if "execve(" in line]
    log.unlink()
    return done.stdout + done.stderr, executed[1:]


@pytest.mark.parametrize("interpreter", ["python3.11", "ruby3.1", "perl", "xpython3 (deleted)"])
def test_nothing_of_a_scanned_process_is_executed_or_imported(
    compiler: Compiler, trap: Trap, interpreter: str
) -> None:
    program = Path(shutil.copy(holder(compiler), trap.place / interpreter))
    with looked_at(trap, program) as pid:
        for words in (
            ["scan"], ["scan", "--json"], ["scan", str(trap.library)], ["status", str(pid)],
            ["live", str(trap.library), "--pid", str(pid), "--dry-run"],
            ["check", str(trap.library), str(trap.library)],
        ):  # fmt: skip
            said, executed = traced(trap, *words)
            assert not trap.proof.exists(), words
            assert not [line for line in executed if str(trap.place) + "/" in line.split("[")[0]]
            assert "\x1b[2J" not in said
    assert not trap.proof.exists()


def _uses(found: Any, pid: int) -> Iterator[Any]:
    """What a process uses, wherever in a document it stands."""
    if isinstance(found, dict):
        if found.get("process", {}).get("identity", {}).get("pid") == pid:
            yield from found["uses"]
            return
        found = list(found.values())
    for part in found if isinstance(found, list) else ():
        yield from _uses(part, pid)


def test_names_with_shell_words_and_newlines_reach_no_shell(compiler: Compiler, trap: Trap) -> None:
    program = Path(shutil.copy(holder(compiler), trap.place / "$(touch proof)\n;|"))
    with looked_at(trap, program) as pid:
        said, executed = traced(trap, "scan", "--json")
        page = trap.place / "page.html"
        _, for_page = traced(trap, "scan", "--html", str(page))
    names = [use["path"] for use in _uses(json.loads(said), pid)]
    assert names == [str(trap.library)]
    assert "\x1b" not in page.read_text()
    assert not [line for line in (*executed, *for_page) if "touch" in line or '"/bin/sh"' in line]
    assert not trap.proof.exists()
    assert not Path("/proof").exists()


FLIPPING = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
int main(int count, char **v) {
    if (count < 4 || strcmp(v[1], "mine")) { open(PROOF, O_CREAT | O_WRONLY, 0600); return 0; }
    if (!strcmp(v[2], "first")) { puts("ready"); fflush(stdout); }
    char *next[] = {v[3], "mine", "again", v[0], 0};
    usleep(300);
    if (getppid() == 1) return 0;
    execv(v[3], next);
    return 1;
}
"""


def test_a_process_that_is_another_program_at_every_look_runs_none_of_them(
    compiler: Compiler, trap: Trap
) -> None:
    made = compiler.program(FLIPPING, f'-DPROOF="{trap.proof}"')
    one, other = (Path(shutil.copy(made, trap.place / n)) for n in ("python3", "libswap"))
    assert one.stat().st_mode & stat.S_IXUSR
    with subprocess.Popen(
        [str(one), "mine", "first", str(other)], stdout=subprocess.PIPE, executable=str(one)
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for words in (
                ["scan", "--json"],
                ["status", str(process.pid)],
                ["scan", str(one)],
                ["live", str(trap.library), "--pid", str(process.pid), "--dry-run"],
            ):
                _, executed = traced(trap, *words)
                assert not [line for line in executed if str(trap.place) in line]
            assert process.poll() is None
        finally:
            process.kill()
    assert not trap.proof.exists()
