import json
import os
import subprocess
import sys
import zipfile
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


def test_what_a_command_imports_need_not_be_compiled_where_it_runs(archive: Path) -> None:
    code = (
        "import builtins, sys; plain = builtins.compile\n"
        "def compile(source, name, *rest, **more):\n"
        f"    assert {str(archive)!r} not in str(name), name\n"
        "    return plain(source, name, *rest, **more)\n"
        f"builtins.compile = compile; sys.path.insert(0, {str(archive)!r})\n"
        "from libswap.cli.app import run; sys.exit(run(['history', '--json', '--state-dir=/x']))"
    )
    line = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["kind"]


def test_another_python_compiles_it(archive: Path, tmp_path: Path) -> None:
    """Whose bytecode begins with another number."""
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(archive) as all_of_it, zipfile.ZipFile(other, "w") as changed:
        for name in all_of_it.namelist():
            data = all_of_it.read(name)
            changed.writestr(name, b"\0\0\r\n" + data[4:] if name.endswith(".pyc") else data)
    assert json.loads(_run(other, "history", "--json", "--state-dir=/x"))["result"]["kind"]


def test_bytecode_is_the_same_whatever_else_this_process_has_seen() -> None:
    code = (
        "import sys; from libswap.fleet.bytecode import bytecode\n"
        "kept = [sys.intern(word) for word in ('odd', 'name', 'some', 'words')]\n"
        'text = b\'name = "odd"\\nif name in {"some", "words", "of it"}: pass\\n\'\n'
        "sys.stdout.buffer.write(bytecode(text, 'name.py'))"
    )
    plain = code.replace("('odd', 'name', 'some', 'words')", "()")
    made = {
        subprocess.run(
            [sys.executable, "-c", text], capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for text in (code, plain)
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(made) == 1


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
