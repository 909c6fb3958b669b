import json
import os
import shutil
from pathlib import Path

import pytest

from libswap.cli.app import run
from libswap.errors.base import InvalidElf, NotConfirmed, UsageError
from libswap.errors.install import SourceUnreadable
from libswap.install import journal
from libswap.install.state import locked
from support.command import Libswap
from support.compiler import Compiler
from support.site import Site, library, untouched

pytestmark = pytest.mark.compiler


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # no path is folded, however long


@pytest.fixture
def real(compiler: Compiler, site: Site) -> Path:
    return site.place(library(compiler, 1), "libx.so.1")


def libswap(site: Site, *words: object) -> int:
    return run([*map(str, words), "--state-dir", str(site.settings.state_dir)])


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    compiler: Compiler, site: Site, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = untouched(real)
    assert libswap(site, "install", library(compiler, 2), real, "--dry-run") == 0
    assert str(real) in capsys.readouterr().out
    assert untouched(real) == before
    assert not site.settings.state_dir.exists()


def test_what_was_done_under_one_locale_is_known_and_taken_back_under_another(
    compiler: Compiler, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = library(compiler, 1), library(compiler, 2)
    place, drop = site.lib / "b\u00e9" / "libx.so.1", site.root / "dr\u00f6p"
    for directory in (place.parent, drop):
        directory.mkdir(parents=True)
    shutil.copy(old, place)
    shutil.copy(new, drop / place.name)
    rules = site.root / "watch.toml"
    rules.write_text(f'[[drop]]\ndirectory = "{drop}"\nto = "{place.parent}"\n')
    libswap = Libswap(site.settings.state_dir)
    done = [libswap("install", new, place, "--yes")]
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    done += [
        libswap(*words.split())
        for words in ("scan", "history", f"watch --config {rules} --once", "rollback --yes")
    ]
    assert [each.code for each in done] == [0] * len(done), [
        each.said for each in done if each.code
    ]
    assert place.read_bytes() == old.read_bytes()


@pytest.mark.parametrize("command", ["install", "rollback", "prune"])
def test_a_dry_run_says_that_something_was_interrupted(
    compiler: Compiler, site: Site, real: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    libswap(site, "install", library(compiler, 2), real)
    plan = site.plan(library(compiler, 1), to=real)
    with locked(site.settings.state_dir, 0, "install") as state:
        journal.begin(state.directory, plan.transaction)
    capsys.readouterr()
    words = [library(compiler, 3), real] if command == "install" else []
    assert libswap(site, command, *words, "--dry-run") == 0
    said = capsys.readouterr().err
    assert f"{plan.transaction.id} was interrupted and will be undone" in said
    assert said.endswith("before that:\n")


def test_the_whole_round_in_json(
    compiler: Compiler, site: Site, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert libswap(site, "install", library(compiler, 2), real, "--json") == 0
    installed = json.loads(capsys.readouterr().out)["result"]
    assert installed["operation"]["outcome"] == "done"
    assert libswap(site, "rollback", real, "--json") == 0
    rolled = json.loads(capsys.readouterr().out)["result"]["operation"]["transaction"]
    assert rolled["undoes"] == installed["operation"]["transaction"]["id"]
    for words in (["history"], ["recover"], ["prune"]):
        assert libswap(site, *words, "--json") == 0
        assert json.loads(capsys.readouterr().out)["command"] == words[0]


def test_a_rollback_without_a_name_wants_to_be_confirmed(
    compiler: Compiler, site: Site, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    libswap(site, "install", library(compiler, 2), real)
    assert libswap(site, "rollback") == NotConfirmed.exit_code
    assert real.read_bytes() == library(compiler, 2).read_bytes()
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["new.so", ""], UsageError.exit_code, "is empty"),
        (["", "lib"], UsageError.exit_code, "is empty"),
        (["new.so"], UsageError.exit_code, "where is new.so to be installed"),
        (["a", "b", "c"], UsageError.exit_code, "--into DIR"),
        (["a", "--into", "/nowhere"], UsageError.exit_code, "no such directory"),
        (["none.so", "lib"], SourceUnreadable.exit_code, "No such file"),
        (["lib", "lib"], SourceUnreadable.exit_code, "no regular file"),
        (["script", "lib"], InvalidElf.exit_code, "linker script"),
        (["new.so", "lib", "--strategy", "copy"], UsageError.exit_code, "rename or unlink"),
        (["new.so", "lib", "--frobnicate"], UsageError.exit_code, "frobnicate"),
    ],
)
def test_a_mistake_gets_its_reason_and_its_exit_code(
    site: Site,
    real: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(site.root)
    Path("script").write_text("/* GNU ld script */ INPUT(-lz)\n")
    before = untouched(real)
    assert libswap(site, "install", *words) == code
    assert said in capsys.readouterr().err
    assert untouched(real) == before


def test_a_hostile_name_reaches_the_terminal_only_escaped(
    compiler: Compiler, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"lib\x1b[2Jx\n\xff.so")
    site.place(library(compiler, 1, soname=""), name)
    source = site.root / name
    source.write_bytes(library(compiler, 2, soname="").read_bytes())
    assert libswap(site, "install", source, site.lib) == 0
    libswap(site, "history")
    libswap(site, "rollback", "--yes")
    libswap(site, "history", "--json")
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"lib\x1b[2Jx\n\xff.so" in said.out
    assert (site.lib / name).read_bytes() == library(compiler, 1, soname="").read_bytes()
