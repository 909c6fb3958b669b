"""The manual and the completions as they are shipped, judged by the programs that read them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.compiler import has

PACKAGING = Path(__file__).parents[2] / "packaging"
PAGES = sorted((PACKAGING / "man").glob("*.1"))
SCRIPTS = {"bash": "libswap.bash", "zsh": "_libswap", "fish": "libswap.fish"}
WITH_LIBSWAP = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def said(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=WITH_LIBSWAP)
    return done.stdout + done.stderr


@pytest.mark.skipif(not has("mandoc"), reason="no mandoc")
def test_no_page_of_the_manual_has_a_fault() -> None:
    assert said("mandoc", "-T", "lint", "-W", "warning", *PAGES) == ""


def test_the_overview_leads_to_every_page() -> None:
    overview = (PACKAGING / "man/libswap.1").read_text()
    for page in PAGES:
        name = page.stem.replace("-", r"\-")
        assert page.stem == "libswap" or rf"\fB{name}\fR(1)" in overview.replace(page.stem, name)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_every_shell_takes_its_completions(shell: str) -> None:
    if not has(shell):
        pytest.skip(f"no {shell}")
    assert said(shell, "-n", PACKAGING / "completions" / SCRIPTS[shell]) == ""


@pytest.mark.skipif(not has("zsh"), reason="no zsh")
def test_zsh_completes_the_first_words_too() -> None:
    """As compinit loads it; what it would offer is printed."""
    line = (
        "fpath=($1); compdef() { : }; _arguments() { print -r -- $@ }; autoload -Uz _libswap;"
        " words=(libswap de); CURRENT=2; _libswap"
    )
    found = said("zsh", "-f", "-c", line, "zsh", PACKAGING / "completions")
    assert "demo" in found
    assert "install" not in found


@pytest.mark.skipif(not has("fish"), reason="no fish")
def test_fish_completes_commands(tmp_path: Path) -> None:
    script = shutil.copy(PACKAGING / "completions/libswap.fish", tmp_path)
    found = said("fish", "--no-config", "-c", f"source {script}; complete -C 'libswap de'")
    assert found.split()[0] == "demo"
