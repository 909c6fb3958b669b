import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libswap.cli import app, direct
from libswap.report import console
from support.command import Libswap
from support.compiler import Compiler
from support.holders import COUNTER, Held, hold, holder

pytestmark = pytest.mark.compiler


@pytest.fixture
def libswap(state_dir: Path) -> Libswap:
    return Libswap(state_dir)


@pytest.fixture
def library(compiler: Compiler, tmp_path: Path) -> Path:
    built = compiler.library(COUNTER, "-Wl,--build-id=0xdd01dd01", soname="libcounter.so.1")
    # The name of the directory too, as it is asked for by name while others have theirs.
    return Path(shutil.copy(built, tmp_path / f"lib{tmp_path.name}\x1b[31mred\n.so"))


@pytest.fixture
def stale(compiler: Compiler, library: Path) -> Iterator[Held]:
    """A process whose library was deleted, and has a name that a terminal must not see raw."""
    with hold(holder(compiler), "dlopen", library) as held:
        library.unlink()
        yield held


def _pids(document: dict[str, object]) -> list[int]:
    result = document["result"]
    assert isinstance(result, dict)
    return [u["process"]["identity"]["pid"] for g in result["groups"] for u in g["users"]]


def test_the_machine_is_scanned_into_one_document(libswap: Libswap, stale: Held) -> None:
    done = libswap("scan")
    assert done.code == 0, done
    assert stale.pid in _pids(done.document)
    assert done.document["result"]["processes"] > 1


@pytest.mark.ptrace
@pytest.mark.parametrize("kept", ["kept", "attic/kept"])
def test_names_that_the_locale_cannot_say_are_looked_up_all_the_same(
    libswap: Libswap, compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    built = compiler.library(COUNTER, soname="lib\u00e9.so.1")
    library = Path(shutil.copy(built, tmp_path / "lib\u00e9.so.1"))
    (tmp_path / kept).parent.mkdir(exist_ok=True)
    with hold(holder(compiler), "dlopen", library) as held:
        library.rename(tmp_path / kept)
        shutil.copy(built, library)
        for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0"}.items():
            monkeypatch.setenv(name, value)
        found, asked = libswap("scan"), libswap("scan", tmp_path / kept)
    assert (found.code, asked.code) == (0, 0), found
    (use,) = asked.document["result"]["users"][0]["uses"]
    assert use["state"]["by"].encode(errors="surrogateescape") == os.fsencode(library)
    same = found.document["result"]["same_build"]
    assert held.pid in [user["process"]["identity"]["pid"] for user in same]


def test_files_and_bare_names_are_asked_for(libswap: Libswap, stale: Held, library: Path) -> None:
    for asked in (str(library), library.name):
        done = libswap("scan", asked)
        assert done.code == 0, done
        (user,) = done.document["result"]["users"]
        assert user["process"]["identity"]["pid"] == stale.pid
        assert user["uses"][0]["path"] == str(library)
        assert user["uses"][0]["state"]["kind"] == "Deleted"


def test_a_name_that_nothing_has_and_a_directory_are_refused_with_advice(
    libswap: Libswap, tmp_path: Path
) -> None:
    done = libswap("scan", tmp_path / "libnothing.so")
    assert (done.code, done.document["error"]["class"]) == (42, "NobodyMaps")
    assert libswap("scan", tmp_path).code == 2


def test_a_terminal_is_shown_the_restart_and_no_raw_name(stale: Held, state_dir: Path) -> None:
    words = [sys.executable, "-m", "libswap", "scan", "--state-dir", str(state_dir)]
    main, other = pty.openpty()
    with subprocess.Popen(words, stdout=other, env={**os.environ, "COLUMNS": "50"}) as process:
        os.close(other)
        shown = b""
        while piece := _read(main):
            shown += piece
    os.close(main)
    assert process.returncode == 0
    assert str(stale.pid).encode() in shown
    assert rb"\x1b[31mred\n.so" in shown.replace(b"\r\n", b"")
    assert b"\x1b[31mred" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def test_watching_prints_document_after_document_until_it_is_interrupted(
    libswap: Libswap, stale: Held
) -> None:
    with libswap.start("scan", "--watch", "--interval", "0.1") as process:
        assert process.stdout is not None
        lines: list[str] = []
        documents = []
        while len(documents) < 2:
            lines.append(process.stdout.readline())
            if (
                lines[-1] == "}\n"
            ):  # the only line of a document that is not indented, but the first
                documents.append(json.loads("".join(lines)))
                lines.clear()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert all(stale.pid in _pids(document) for document in documents)


@pytest.mark.parametrize("words", direct.LINES)
def test_the_short_way_says_what_the_long_way_says(
    words: list[str], stale: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    own = re.compile(
        rf' +("pid": )?{stale.pid}\b'
    )  # not a list of all who share a file, who come and go

    def told(way: Callable[[list[str]], int]) -> list[str]:
        assert way(words) == 0
        return [line for line in capsys.readouterr().out.splitlines() if own.match(line)]

    assert told(direct.run) == told(app.run) != []


@pytest.mark.parametrize("words", direct.LINES)
def test_the_scan_of_the_machine_starts_without_typer_and_draws_without_rich(
    words: list[str],
) -> None:
    code = (
        f"import sys; sys.argv[1:] = {words}; from libswap.__main__ import main; main();"
        " sys.exit(not {'typer', 'rich', 'elftools'}.isdisjoint(sys.modules))"
    )
    pipe = {name: value for name, value in os.environ.items() if name not in console._TERMINAL}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=pipe)
    assert done.returncode == 0, done


def plugin(*words: str, state_dir: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "libswap", "scan", "--nagios", "--state-dir", str(state_dir)]
    return subprocess.run([*line, *words], capture_output=True, text=True, check=False)


def judged(told: subprocess.CompletedProcess[str], level: int) -> bool:
    """By the thresholds, unless another test has a library overwritten now: that is critical."""
    return told.returncode == (level if " overwritten=0;" in told.stdout else 2)


def test_a_monitoring_system_is_told_in_its_own_terms(stale: Held, state_dir: Path) -> None:
    warned = plugin(state_dir=state_dir)
    assert judged(warned, 1), warned
    assert warned.stderr == ""
    assert warned.stdout.startswith(("LIBSWAP WARNING - ", "LIBSWAP CRITICAL - "))
    assert str(stale.pid) in warned.stdout
    assert "\x1b" not in warned.stdout
    assert plugin("--critical", "0", state_dir=state_dir).returncode == 2
    enough = plugin("--warning", "99999", state_dir=state_dir)
    # Others' processes are hidden from an ordinary user.
    assert judged(enough, 0 if os.geteuid() == 0 else 3), enough


@pytest.mark.parametrize(
    "words", [("--warning", "x"), ("--json",), ("--watch",), ("libc.so.6",), ("--no-such",)]
)
def test_a_monitoring_system_never_takes_a_wrong_word_for_a_level(
    state_dir: Path, words: tuple[str, ...]
) -> None:
    told = plugin(*words, state_dir=state_dir)
    assert told.returncode == (2 if words == ("--json",) else 3)
    assert words == ("--json",) or told.stdout.startswith("LIBSWAP UNKNOWN - ")


def test_a_fault_of_ours_is_unknown_to_a_monitoring_system() -> None:
    code = (
        "import sys; from libswap.operations import scan; from libswap.__main__ import main\n"
        "def fail(_): raise AssertionError\n"
        "scan.scan_machine = fail; sys.argv[1:] = ['scan', '--nagios']; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "AssertionError" in done.stderr


def test_metrics_are_written_beside_the_result(
    libswap: Libswap, stale: Held, tmp_path: Path
) -> None:
    file = tmp_path / "libswap.prom"
    done = libswap("scan", "--metrics", file)
    assert (done.code, stale.pid in _pids(done.document)) == (0, True)
    assert "libswap_library_stale_processes{" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert libswap("scan", "--metrics", file, "libc.so.6").code == 2
    link = tmp_path / "link.prom"
    link.symlink_to(file)
    assert libswap("scan", "--metrics", link).code == 17


def test_thresholds_without_a_monitoring_system_are_a_wrong_word(libswap: Libswap) -> None:
    assert libswap("scan", "--warning", "1").code == 2
