"""The tutorial is run as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.slow]

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial" / "patch-a-function.md").read_text()


def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    for name, source in re.findall(r"```c\n/\* (\S+) \*/\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / name).write_text(source)
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    # The server dies with the shell, whatever happens.
    script = f"set -eu\ntrap 'kill $server 2>/dev/null || true' EXIT\nserver=0\n{commands}"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": path}, text=True, capture_output=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = (tmp_path / "answers").read_text().splitlines()
    assert answers == ["7 (request 1)", "12 (request 2)", "7 (request 3)"]
    assert "replaces area@server.c" in done.stdout
    assert "Every patch is in memory as it was applied." in done.stdout
