"""Every command of the how-tos and tutorials is run, or bears the reason why not."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.compiler import Compiler
from support.driven import running

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*(DOCS / "how-to").glob("*.md"), *(DOCS / "tutorial").glob("*.md")])
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<kind>[a-z]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NO_COMMANDS = {"c", "ini", "python", "text", "toml", "yaml"}
RUN_ELSEWHERE = {"first-upgrade.md": "console", "patch-a-function.md": "sh"}
"""Tutorials that answer questions as they go have a test of their own."""
MOST_MARKS = 12

WRAPPER = """\
#!/bin/sh
case $1 in check | patch | demo) ;; *) set -- "$@" --state-dir "$STATE" ;; esac
exec "{python}" -m libswap "$@"
"""
"""libswap with the state of the test, so that a page need not speak of it."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str
    reason: str | None

    @property
    def lines(self) -> list[str]:
        """The command lines."""
        return re.findall(r"^[$#] (.+)$", self.text, re.MULTILINE)


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    whole = re.search(r"<!-- page not run: ([^>]+) -->", text)
    reason = whole[1] if whole else None
    return [Block(m["kind"], m["text"], reason or m["reason"]) for m in FENCE.finditer(text)]


def commands(page: Path) -> list[str]:
    """The lines of a page that are to be run."""
    found = (block for block in blocks(page) if block.kind == "console" and block.reason is None)
    return [line for block in found for line in block.lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_of_commands_escapes(page: Path) -> None:
    for block in blocks(page):
        if block.kind != RUN_ELSEWHERE.get(page.name):
            assert block.kind in {"console", *NO_COMMANDS}, block.text
            assert block.kind != "console" or block.lines, f"no line has a prompt: {block.text}"


def test_few_blocks_are_not_run() -> None:
    marked = {(page.name, block.reason) for page in PAGES for block in blocks(page) if block.reason}
    assert len(marked) <= MOST_MARKS, marked


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a page is played.

    Attributes:
        root: the working directory.
        compiler: makes what the page takes for given.
    """

    root: Path
    compiler: Compiler

    @property
    def libraries(self) -> Path:
        """What stands for the machine's directory of libraries."""
        return self.root / "lib"

    def library(self, name: str, version: int, soname: str) -> Path:
        built = self.compiler.library(
            "demo/library.c", f"-DVERSION={version}", "-g", soname=soname, name=name
        )
        return Path(shutil.copy(built, self.root / name))

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """A library in use, its successor, a health check, a directory to drop into."""
        self.libraries.mkdir()
        old = self.library("libfoo.so.1.2", 1, "libfoo.so.1")
        place = Path(shutil.move(old, self.libraries))
        (self.libraries / "libfoo.so.1").symlink_to(place.name)
        self.library("libfoo.so.1.3", 2, "libfoo.so.1")
        bar = self.library("libbar.so.2.1", 1, "libbar.so.2")
        shutil.copy(bar, self.root / "libbar.so.2")
        service = self.compiler.program(
            "demo/service.c", str(self.libraries / "libfoo.so.1"), f"-Wl,-rpath,{self.libraries}"
        )
        (self.root / "bin").mkdir()
        self._program("curl", "#!/bin/sh\nexit 0\n")
        self._program("libswap", WRAPPER.format(python=sys.executable))
        with ExitStack() as stack:
            stack.enter_context(running([service]))
            yield

    def _program(self, name: str, text: str) -> None:
        file = self.root / "bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def here(self, line: str) -> str:
        """A command with the machine's directories exchanged for ours."""
        for theirs, ours in (
            ("/usr/lib/x86_64-linux-gnu", self.libraries),
            ("/var/lib/prometheus/node-exporter", self.root),
            ("/srv/drop", self.root / "drop"),
        ):
            line = line.replace(theirs, str(ours))
        return line


@pytest.mark.compiler
@pytest.mark.ptrace
@pytest.mark.root
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.name not in RUN_ELSEWHERE and commands(p)],
    ids=lambda page: page.name,
)
def test_every_command_of_a_page_does_what_it_says(
    page: Path, tmp_path: Path, compiler: Compiler
) -> None:
    stage = Stage(tmp_path, compiler)
    for name, source in re.findall(r"```c\n/\* (\S+) \*/\n(.*?)```", page.read_text(), re.DOTALL):
        (tmp_path / name).write_text(source)
    lines = map(stage.here, commands(page))
    trap = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
    script = "\n".join(["set -e", trap, *(_told(line) for line in lines)])
    with stage.set_up():
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
            timeout=100, env={
                **os.environ, "STATE": str(tmp_path / "state"),
                "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            },
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _told(line: str) -> str:
    """The line, its text before it; `# exit code N` behind one says how it ends."""
    command, _, code = line.partition("  # exit code ")
    if "--nagios" in line:  # whatever runs on this machine, it is one of the four
        return f"echo {_quoted('+ ' + line)}\n{line} || test $? -le 3"
    if not code:
        return f"echo {_quoted('+ ' + line)}\n{line}"
    return f"echo {_quoted('+ ' + line)}\n{command} && false || test $? -eq {int(code)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
