import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from libswap import __version__
from libswap.errors.fleet import Unbundled
from libswap.fleet.bundle import bundle
from libswap.operations.fleet import write_bundle
from support.compiler import Compiler
from support.swapping import Stage


def _run(archive: Path, *words: str | Path) -> str:
    command = [sys.executable, "-I", "-S", archive, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "libswap.pyz"
    written = write_bundle(path)
    bundle.cache_clear()
    assert written.sha256 == bundle().sha256, "the same every time"
    return path


def test_one_file_is_a_whole_libswap(archive: Path) -> None:
    assert _run(archive, "--version") == f"libswap {__version__}\n"
    assert json.loads(_run(archive, "scan", "--json"))["result"]["kind"] == "Scan"


def test_one_file_cannot_make_another(archive: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-I", "-S", archive, "fleet", "bundle", tmp_path / "again.pyz"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, list(tmp_path.iterdir())) == (Unbundled.exit_code, [])
    assert "libswap is itself one file here" in done.stderr


def test_a_part_whose_files_are_not_known_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metadata.PathDistribution, "files", None)
    bundle.cache_clear()
    with pytest.raises(Unbundled, match="has no list of its files"):
        bundle()


@pytest.mark.compiler
@pytest.mark.ptrace
def test_compiled_extensions_are_unpacked_for_live_mode(
    archive: Path, compiler: Compiler, tmp_path: Path
) -> None:
    stage = Stage(compiler, tmp_path / "libversion.so")
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        stage.install(stage.build("live/version.c", version=2))
        _run(archive, "live", "--json", "--state-dir", tmp_path / "state", stage.place)
        assert target.ask("version") == "2"
