"""What the documents say is so: their links lead somewhere, the tutorial runs as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_variable_and_every_place_of_the_state_is_written_down() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    code = [path.read_text() for path in (ROOT / "libswap").rglob("*.py")]
    read = re.compile(r'environ(?:ment)?\.get\("([A-Z_]+)"|environment={"([A-Z_]+)": ')
    names = {one or other for text in code for one, other in read.findall(text)}
    names -= {"LIBSWAP_TEST_DIE_AT", "ZIG_GLOBAL_CACHE_DIR"}
    assert {"LIBSWAP_PID", "XDG_STATE_HOME"} <= names
    place = re.compile(r'(?m)^_?DIRECTORY: Final = "(\w+)"')
    places = {name for text in code for name in place.findall(text)}
    assert {"watch", "fleet"} <= places
    assert not {name for name in names if f"`{name}`" not in page}
    assert not {name for name in places if f"`{name}/`" not in page}


@pytest.mark.compiler
@pytest.mark.ptrace
def test_the_tutorial_runs_and_the_service_answers_as_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial" / "first-upgrade.md").read_text()
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    lines = blocks.replace("/tmp/first-upgrade", str(tmp_path / "tutorial")).splitlines()
    script = "set -e\n" + "\n".join(line[2:] for line in lines if line.startswith("$ "))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line for line in lines if line and not line.startswith("$ ")]
    said = done.stdout.splitlines()
    assert [line for line in said if line in shown] == shown, done.stdout
    assert _answers(said) == _answers(shown)


def _answers(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("answer ")]
