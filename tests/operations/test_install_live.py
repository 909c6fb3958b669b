import json
from pathlib import Path

import pytest

from libswap.cli.app import run
from libswap.errors.base import UsageError
from libswap.errors.live import CheckFailed, CommitBlocked
from libswap.operations.status import status
from support.compiler import FIXTURES, Compiler
from support.site import Site, untouched
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

ALWAYS_INSIDE = """
#include <stdio.h>
int serve(void) {
    char line[9];
    puts("ready");
    for (fflush(stdout); fgets(line, 9, stdin); fflush(stdout)) printf("%d\\n", VERSION);
    return VERSION;
}
"""


@pytest.fixture
def stage(compiler: Compiler, site: Site) -> Stage:
    site.lib.mkdir()
    return Stage(compiler, site.lib / "libversion.so")


def libswap(site: Site, *words: object) -> int:
    return run([*map(str, words), "--state-dir", str(site.settings.state_dir)])


def test_the_file_is_replaced_and_its_processes_run_the_new_code(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    new = stage.build("live/version.c", version=2)
    stage.install(stage.build("live/version.c", version=1))
    program = stage.program("live/driver.c")
    with stage.running(program) as one, stage.running(program) as two:
        assert libswap(site, "install", new, stage.place, "--live", "--json") == 0
        result = json.loads(capsys.readouterr().out)["result"]
        assert [p["outcome"]["kind"] for p in result["plan"]["processes"]] == ["Planned"] * 2
        assert [p["pid"] for p in result["processes"]] == [one.pid, two.pid]
        assert {p["outcome"]["kind"] for p in result["processes"]} == {"Moved"}
        assert result["installed"]["operation"]["outcome"] == "done"
        assert (one.ask("version"), two.ask("heap")) == ("2", "2")
    assert stage.place.read_bytes() == new.read_bytes()


def test_the_moves_can_be_rehearsed_and_clean_up(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        for version in (2, 3):
            new = stage.build("live/version.c", version=version)
            words = ("install", new, stage.place, "--live", "--rehearse", "--unload", "--json")
            assert libswap(site, *words) == 0
            (process,) = json.loads(capsys.readouterr().out)["result"]["processes"]
            assert process["outcome"]["rehearsed"]
            assert target.ask("version") == str(version)
        first, second = process["copies"]
        assert first["reasons"] == ["the program loaded it, and holds it"]
        assert second["build_id"] != first["build_id"]


def test_old_objects_can_be_left_to_the_old_code(
    site: Site, compiler: Compiler, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lib.mkdir()
    here, stage = FIXTURES / "drain", Stage(compiler, site.lib / "libobjects.so")
    old, new = (stage.build("drain/objects.c", version=v) for v in (1, 2))
    stage.install(old)
    include = (f"-I{here}", "-pthread", "-include", str(stage.header))
    with stage.running(stage.program("drain/user.c", *include)) as target:
        assert target.ask("new 0 10") == "1"
        words = ("install", new, stage.place, "--live", "--yes", "--json", "--drain")
        chosen = ("--handles", here / "objects.toml", "--drain-limit", 3600, "--then", "revert")
        assert libswap(site, *words, *chosen, "--check", "false") == CheckFailed.exit_code
        assert target.ask("version") == "1"
        assert stage.place.read_bytes() == old.read_bytes()
        capsys.readouterr()
        assert libswap(site, *words, *chosen) == 0
        (process,) = json.loads(capsys.readouterr().out)["result"]["processes"]
        assert process["outcome"]["kind"] == "DrainBegun"
        found = [target.ask(q) for q in ("version", "step 0", "new 1 10", "step 1", "free 0")]
        assert found == ["2", "11", "1", "12", "0"]
        assert libswap(site, "live", stage.place, "--settle") == 0
    assert libswap(site, "install", new, stage.place, "--drain") == UsageError.exit_code
    assert libswap(site, *words, "--rehearse") == UsageError.exit_code
    assert libswap(site, *words[:-1], *chosen) == UsageError.exit_code


def test_the_dry_run_shows_every_process_and_touches_nothing(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        before, maps = untouched(stage.place), Path(f"/proc/{target.pid}/maps").read_text()
        new = stage.build("live/version.c", version=2)
        assert libswap(site, "install", new, stage.place, "--live", "--dry-run") == 0
        shown = capsys.readouterr().out
        assert str(target.pid) in shown
        assert "entries" in shown
        assert untouched(stage.place) == before
        assert Path(f"/proc/{target.pid}/maps").read_text() == maps


def test_a_check_that_fails_takes_back_the_files_and_every_process(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    old = stage.build("live/version.c", version=1)
    stage.install(old)
    program = stage.program("live/driver.c")
    with stage.running(program) as one, stage.running(program) as two:
        words = ("install", stage.build("live/version.c", version=2), stage.place, "--live")
        check = f"sh -c 'test $LIBSWAP_PID = {one.pid}'"
        assert libswap(site, *words, "--json", "--check", check) == CheckFailed.exit_code
        result = json.loads(capsys.readouterr().out)["result"]
        kinds = {p["pid"]: p["outcome"]["kind"] for p in result["processes"]}
        assert kinds == {one.pid: "Moved", two.pid: "MovedBack"}
        assert [p["pid"] for p in result["taken_back"]] == [one.pid]
        assert result["rolled_back"]["operation"]["outcome"] == "done"
        assert (one.ask("version"), two.ask("version")) == ("1", "1")
        assert libswap(site, *words, "--check", "false") == CheckFailed.exit_code
        assert "everything was taken back" in capsys.readouterr().out
        assert (one.ask("version"), two.ask("version")) == ("1", "1")
        assert stage.place.read_bytes() == old.read_bytes()
        assert libswap(site, *words, "--check", "true") == 0
        assert (one.ask("version"), two.ask("version")) == ("2", "2")


def test_a_check_runs_where_its_caller_stands_and_may_die_of_any_signal(
    site: Site, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = site.root / "check"
    check.write_text("#!/bin/sh\ntest -e ./check && kill -40 $$\n")
    check.chmod(0o755)
    monkeypatch.chdir(site.root)
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        words = ("install", stage.build("live/version.c", version=2), stage.place, "--live")
        assert libswap(site, *words, "--check", "./check") == CheckFailed.exit_code
        assert "ended by SIGRTMIN+6" in capsys.readouterr().out
        assert target.ask("version") == "1"


def test_a_process_that_cannot_be_moved_back_is_not_called_unchanged(
    site: Site, stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "inside"
    never_ends = (
        "#include <fcntl.h>\n#include <unistd.h>\nvoid f(void) {"
        f' if (VERSION == 2) for (creat("{inside}", 0600);;) pause(); }}'
    )
    stage.install(stage.build(never_ends, version=1))
    new = stage.build(never_ends, version=2)
    program = (
        "#include <stdio.h>\n#include <unistd.h>\nvoid f(void);\nint main(void) {"
        ' puts("ready"); for (fflush(stdout);; f()) usleep(999); }'
    )
    check = f"sh -c 'until test -e {inside}; do :; done; echo unwell >&2; false'"
    with stage.running(stage.program(program)) as target:
        words = ("install", new, stage.place, "--live", "--wait", "0.5", "--check", check)
        assert libswap(site, *words, "--json") == CheckFailed.exit_code
        result = json.loads(capsys.readouterr().out)["result"]
        (process,) = result["processes"]
        assert process["outcome"]["kind"] == "StillMoved"
        assert "unwell" in process["outcome"]["reason"]
        assert "no safe moment" in process["outcome"]["trouble"]
        assert result["rolled_back"]["operation"]["outcome"] == "done"
        assert [p.events[0].what for p in status([target.pid]).processes] == ["swap"]


def test_a_process_that_cannot_be_moved_leaves_the_installation_and_says_so(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.install(stage.build(ALWAYS_INSIDE, version=1))
    new = stage.build(ALWAYS_INSIDE, version=2)
    with stage.running(stage.program("int serve(void);\nint main(void) { return serve(); }")) as t:
        words = ("install", new, stage.place, "--live", "--wait", "0.2", "--json")
        assert libswap(site, *words) == CommitBlocked.exit_code
        (process,) = json.loads(capsys.readouterr().out)["result"]["processes"]
        assert (process["outcome"]["kind"], process["outcome"]["error"]) == (
            "Refused", "CommitBlocked",
        )  # fmt: skip
        assert t.ask() == "1"
        assert stage.place.read_bytes() == new.read_bytes()


def test_libraries_that_need_each_other_are_moved_in_one_commit(
    compiler: Compiler, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    upper = Stage(compiler, site.lib / "libupper.so")
    lower = Stage(compiler, site.lib / "liblow.so")
    site.lib.mkdir()
    text = "int low(void);\nint up(void) { return 10 * VERSION + low(); }"
    low = {v: lower.build("int low(void) {\n return VERSION; }", version=v) for v in (1, 2)}
    lower.install(low[1])
    up = {
        v: upper.build(text, str(lower.place), f"-Wl,-rpath,{site.lib}", version=v) for v in (1, 2)
    }
    upper.install(up[1])
    source = (
        '#include <stdio.h>\nint up(void);\nint main(void) { char l[9]; puts("ready");'
        ' for (fflush(stdout); fgets(l, 9, stdin); fflush(stdout)) printf("%d\\n", up()); }'
    )
    with upper.running(upper.program(source)) as target:
        assert target.ask() == "11"
        words = ("install", "--into", site.lib, up[2], low[2], "--live", "--json")
        assert libswap(site, *words, "--check", "false") == CheckFailed.exit_code
        assert target.ask() == "11"
        assert up[1].read_bytes() == upper.place.read_bytes()
        capsys.readouterr()
        assert libswap(site, *words) == 0
        moved = json.loads(capsys.readouterr().out)["result"]["processes"]
        assert {p["library"] for p in moved} == {str(lower.place), str(upper.place)}
        assert len({p["outcome"]["id"] for p in moved}) == 1, "one commit"
        assert target.ask() == "22"
        assert not [p for p in status([target.pid]).processes if p.unfinished]


def test_a_library_that_nobody_runs_is_just_installed(
    site: Site, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    new = stage.build("live/version.c", version=1)
    assert libswap(site, "install", new, stage.place, "--live") == 0
    assert "No process" in capsys.readouterr().out
    assert libswap(site, "install", new, stage.place, "--relaxed") == UsageError.exit_code
