"""The wheel that comes out of the source distribution, in an environment that has nothing else."""

import os
import shutil
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
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(
        argv, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
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
    needed = {"Makefile", ".ci/run", "tests/conftest.py", "fixtures/demo/library.c"}
    assert needed | {"packaging/bundle.py", "packaging/man/libswap.1"} <= names
    (wheel,) = built.glob("*.whl")
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top.partition("-")[0] for top in tops} == {"libswap"}


def test_the_installed_program_answers(clean: Path) -> None:
    assert run(clean / "libswap", "--version").startswith("libswap ")
    assert "demo" in run(clean / "python", "-m", "libswap", "--help")


@pytest.mark.compiler
def test_the_installed_demo_finds_its_programs(clean: Path) -> None:
    assert "SIGSEGV" in run(clean / "libswap", "demo")


def test_the_manual_and_the_completions_come_with_it(clean: Path) -> None:
    share = clean.parent / "share"
    assert (share / "man/man1/libswap.1").is_file()
    assert (share / "bash-completion/completions/libswap").is_file()
    assert (share / "zsh/site-functions/_libswap").is_file()
    assert (share / "fish/vendor_completions.d/libswap.fish").is_file()


@pytest.fixture(scope="module")
def bundles(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two directories with what was made of the wheel, one after the other."""
    (wheel,) = built.glob("*.whl")
    first, second = (tmp_path_factory.mktemp("bundle") for _ in range(2))
    for out in (first, second):
        run(sys.executable, ROOT / "packaging/bundle.py", wheel, out)
    return first, second


def test_the_same_source_gives_the_same_bytes(
    built: Path, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT)
    assert _contents(tmp_path) == _contents(built)
    first, second = map(_contents, bundles)
    assert first == second
    assert any(name.endswith(".pyz") for name in first)


def _contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_one_file_is_enough_for_an_interpreter_without_anything_else(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    (file,) = bundles[0].glob("*.pyz")
    compiled = [name for name in zipfile.ZipFile(file).namelist() if name.endswith(".so")]
    assert all(name.startswith("native/iced_x86/") for name in compiled)
    python = (sys.executable, "-I", "-S", file)
    assert run(*python, "--version").startswith("libswap ")
    page = tmp_path / "page.html"
    state = ("--state-dir", tmp_path / "state")
    assert '"command": "scan"' in run(*python, "scan", "--json", "--html", page, *state)
    assert "<h1>" in page.read_text()
    run(*python, "history", *state)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb")
def test_the_debian_package_holds_a_program_that_runs(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    (package,) = bundles[0].glob("*.deb")
    run("dpkg-deb", "-x", package, tmp_path)
    assert run(sys.executable, "-I", "-S", tmp_path / "usr/bin/libswap", "--version")
    bundle = tmp_path / "bundle.pyz"  # with iced-x86 from beside, which the package does not have
    run(sys.executable, "-I", tmp_path / "usr/bin/libswap", "fleet", "bundle", bundle)
    run(sys.executable, "-I", "-S", bundle, "scan", "--json")
    listed = run("dpkg-deb", "-c", package)
    assert all(line.split()[1] == "root/root" for line in listed.splitlines())
    for expected in (
        "./usr/share/man/man1/libswap-scan.1.gz", "./usr/lib/libswap/after-upgrade",
        "./etc/apt/apt.conf.d/99libswap", "./usr/share/bash-completion/completions/libswap",
    ):  # fmt: skip
        assert expected in listed
    assert "Depends: python3" in run("dpkg-deb", "-f", package)
