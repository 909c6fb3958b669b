"""The example programs, run as their first lines say."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from support.compiler import Compiler
from support.holders import hold, holder
from support.site import Site, library

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.compiler


def run(name: str, *words: object) -> tuple[int, str]:
    """The exit code and the output."""
    python = [sys.executable, EXAMPLES / name, *map(str, words)]
    done = subprocess.run(python, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_stale_processes_are_reported_by_service(compiler: Compiler, site: Site) -> None:
    place = site.place(library(compiler, 1), "libx.so.1")
    with hold(holder(compiler), "dlopen", place) as held:
        place.unlink()
        code, said = run("stale_processes.py")
    assert code == 1
    assert str(held.pid) in said
    assert str(place) in said


def test_an_upgrade_stays_or_is_taken_back(
    compiler: Compiler, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLES / "guarded_upgrade.py"))["main"]
    place = site.place(library(compiler, 1), "libx.so.1")
    old, new = place.read_bytes(), library(compiler, 2)
    assert main(new, place, "false", settings=site.settings) == 1
    assert place.read_bytes() == old
    assert main(new, place, "true", settings=site.settings) == 0
    assert place.read_bytes() == new.read_bytes()
    other = library(compiler, 3, extra="other")
    assert main(other, place, "true", settings=site.settings) == 2
    *said, refused = capsys.readouterr().out.splitlines()
    assert said == ["taken back", "upgraded"]
    assert "also" in refused


def test_an_upgrade_refuses_what_is_no_library() -> None:
    assert run("guarded_upgrade.py", "/dev/null", "/nowhere/libx.so", "true")[0] == 2


def test_a_build_that_breaks_programs_does_not_pass_the_gate(compiler: Compiler) -> None:
    released, built = library(compiler, 1), library(compiler, 2, extra="other")
    assert run("abi_gate.py", released, library(compiler, 2))[0] == 0
    code, said = run("abi_gate.py", released, built)
    assert code == 1
    assert f"{built}: incompatible: symbol-removed 'also'" in said
