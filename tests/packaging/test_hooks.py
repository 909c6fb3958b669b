"""The hook that package managers run, run by apt on a package of its own in a private root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.compiler import Compiler, has
from support.holders import hold, holder
from support.site import Site, library

PACKAGING = Path(__file__).parents[2] / "packaging"
HOOK = PACKAGING / "hooks/after-upgrade"

CONTROL = """\
Package: nothing-much
Version: 1
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: a package with one file
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    libswap = tmp_path / "libswap"
    libswap.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m libswap "$@"\n')
    libswap.chmod(0o755)
    return {
        "PATH": os.environ["PATH"],
        "LIBSWAP": str(libswap),
        "LIBSWAP_METRICS": str(tmp_path / "libswap.prom"),
    }


def apt(root: Path, *words: object, environment: dict[str, str]) -> str:
    """apt-get with every path of its own below `root`, and our hook."""
    configuration = (PACKAGING / "apt/99libswap").read_text()
    hook = configuration.replace("/usr/lib/libswap/after-upgrade", str(HOOK))
    (root / "apt.conf").write_text(
        f'Dir "{root}";\nDir::State::status "{root}/var/lib/dpkg/status";\n'
        f'Dir::Bin::dpkg "/usr/bin/dpkg";\nDPkg::Options {{ "--root={root}"; }};\n'
        f"{hook}"
    )
    done = subprocess.run(
        ["apt-get", "--yes", *map(str, words)], capture_output=True, text=True,
        check=False, env={**environment, "APT_CONFIG": str(root / "apt.conf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.root
@pytest.mark.compiler
@pytest.mark.skipif(not (has("apt-get") and has("dpkg-deb")), reason="apt-get is Debian's")
def test_apt_runs_the_hook_when_it_has_installed_a_package(
    compiler: Compiler, site: Site, tmp_path: Path, environment: dict[str, str]
) -> None:
    build, root = tmp_path / "build", tmp_path / "root"
    (build / "DEBIAN").mkdir(parents=True)
    (build / "DEBIAN/control").write_text(CONTROL)
    (build / "file").touch()
    package = tmp_path / "nothing-much.deb"
    subprocess.run(["dpkg-deb", "--build", build, package], capture_output=True, check=True)
    for directory in (
        "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "etc/apt",
        "var/cache/apt/archives/partial", "var/log/apt",
    ):  # fmt: skip
        (root / directory).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()

    place = site.place(library(compiler, 1), "libx.so.1")
    with hold(holder(compiler), "dlopen", place) as held:
        place.unlink()
        said = apt(root, "install", package, environment=environment)
    assert (root / "file").exists()
    assert str(held.pid) in said
    assert str(place) in said
    assert str(place) in Path(environment["LIBSWAP_METRICS"]).read_text()


def test_the_hook_never_fails(tmp_path: Path, environment: dict[str, str]) -> None:
    """A package manager takes a failing hook for its own failure."""
    metrics = {"LIBSWAP_METRICS": str(tmp_path / "missing/libswap.prom")}
    done = subprocess.run([HOOK], env={**environment, **metrics}, capture_output=True, check=False)
    assert (done.returncode, b"libswap scan failed" in done.stderr) == (0, True)
    nowhere = {"PATH": str(tmp_path / "empty")}
    shell = shutil.which("sh")
    assert shell is not None
    gone = subprocess.run([shell, HOOK], env=nowhere, capture_output=True, check=False)
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, b"", b"")


def test_the_plugin_of_dnf_runs_the_hook(tmp_path: Path) -> None:
    """dnf itself is stood in for by the one class that the plugin needs of it."""
    (tmp_path / "dnf.py").write_text("class Plugin:\n    pass\n")
    hook, ran = tmp_path / "hook", tmp_path / "ran"
    hook.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    hook.chmod(0o755)
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGING / 'dnf')!r})\n"
        f"import libswap as plugin; plugin.HOOK = {str(hook)!r}; plugin.Libswap().transaction()\n"
        "plugin.HOOK = '/nowhere/hook'; plugin.Libswap().transaction()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env={"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert ran.exists()
