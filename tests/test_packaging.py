"""The wheel that comes out of the source distribution, in an environment that has nothing else."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(300)]


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the source distribution, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return out


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment with the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=True)
    (wheel,) = built.glob("*.whl")
    run(home / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    return home / "bin"


def test_the_source_distribution_can_be_tested_and_the_wheel_has_only_the_program(
    built: Path,
) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", ".ci/run", "tests/conftest.py", "fixtures/demo/library.c"} <= names
    (wheel,) = built.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top.partition("-")[0] for top in tops} == {"libswap"}


def test_the_installed_program_answers(clean: Path) -> None:
    assert run(clean / "libswap", "--version").startswith("libswap ")
    assert "demo" in run(clean / "python", "-m", "libswap", "--help")


@pytest.mark.compiler
def test_the_installed_demo_finds_its_programs(clean: Path) -> None:
    assert "SIGSEGV" in run(clean / "libswap", "demo")
