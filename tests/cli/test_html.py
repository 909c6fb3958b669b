"""`--html FILE` of every command that has it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from libswap.cli.app import run
from support.command import Libswap
from support.compiler import Compiler
from support.holders import hold, holder
from support.site import Site, library
from support.swapping import Stage


@pytest.mark.compiler
def test_a_check_and_a_plan_leave_a_page_beside_their_result(
    compiler: Compiler, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = library(compiler, 1), library(compiler, 2, extra="other")
    place, page = site.place(old, "libx.so.1"), site.root / "page.html"
    with hold(holder(compiler), "dlopen", place) as held:
        assert run(["check", str(place), str(new), "--html", str(page), "--json"]) == 38
        assert json.loads(capsys.readouterr().out)["exit_code"] == 38
    text = page.read_text()
    assert "symbol-removed" in text
    assert str(held.pid) in text
    words = ["install", str(library(compiler, 3)), str(place), "--dry-run", "--html", str(page)]
    assert run([*words, "--state-dir", str(site.settings.state_dir)]) == 0
    assert "Plan of an installation" in page.read_text()
    assert place.read_bytes() == old.read_bytes()


@pytest.mark.compiler
@pytest.mark.ptrace
def test_an_installation_and_a_swap_tell_how_long_each_process_stood_still(
    compiler: Compiler, site: Site
) -> None:
    site.lib.mkdir()
    stage, page = Stage(compiler, site.lib / "libversion.so"), site.root / "page.html"
    stage.install(stage.build("live/version.c", version=1))
    state = ["--state-dir", str(site.settings.state_dir), "--html", str(page)]
    with stage.running(stage.program("live/driver.c")) as target:
        new = stage.build("live/version.c", version=2)
        assert run(["install", "--live", "--yes", str(new), str(stage.place), *state]) == 0
        text = page.read_text()
        assert f"(PID {target.pid})" in text
        assert "stood still for" in text
        assert f"process {target.pid}: switch" in text
        failing = stage.build("live/version.c", version=3)
        words = ["install", "--live", "--check", "false", "--yes", str(failing), str(stage.place)]
        assert run([*words, *state]) == 87
        assert "Taken back" in page.read_text()
        stage.install(failing)
        assert run(["live", str(stage.place), *state]) == 0
        assert "1 process moved" in page.read_text()


@pytest.mark.compiler
def test_what_stops_the_work_takes_the_place_of_an_older_page(
    compiler: Compiler, site: Site
) -> None:
    place = site.place(library(compiler, 1), "libx.so.1")
    page = site.root / "page.html"
    page.write_text("an older page")
    words = ["install", str(library(compiler, 2, extra="other")), str(place), "--html", str(page)]
    assert run([*words, "--state-dir", str(site.settings.state_dir)]) == 38
    assert "cannot stand in for" in page.read_text()


@pytest.mark.parametrize("where", ["libswap.cli.page._users", "libswap.operations.scan.scan_files"])
def test_an_interruption_takes_the_place_of_an_older_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    page = tmp_path / "page.html"
    page.write_text("an older page")
    monkeypatch.setattr(where, interrupted)
    words = ["scan", "libc.so.6", "--html", str(page), "--state-dir", str(tmp_path / "state")]
    assert run(words) == 130
    assert "interrupted" in page.read_text()
    assert "an older page" not in page.read_text()


@pytest.mark.compiler
def test_nothing_is_done_where_the_page_could_not_be_written(
    compiler: Compiler, site: Site
) -> None:
    place = site.place(library(compiler, 1), "libx.so.1")
    before, link = place.read_bytes(), site.root / "link.html"
    link.symlink_to(site.root / "elsewhere")
    words = ["install", "--yes", str(library(compiler, 2)), str(place), "--html"]
    state = ["--state-dir", str(site.settings.state_dir)]
    for page in (link, site.root / "missing/page.html"):
        assert run([*words, str(page), *state]) == 17
    assert place.read_bytes() == before
    assert not (site.root / "elsewhere").exists()


def test_a_scan_leaves_a_page_and_nagios_has_none(state_dir: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    libswap = Libswap(state_dir)
    assert libswap("scan", "--html", page).code == 0
    assert "<h1>Who runs replaced libraries</h1>" in page.read_text()
    assert run(["scan", "--nagios", "--html", str(page)]) == 3


def test_without_jinja2_the_line_that_installs_it_is_said(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['jinja2'] = None; from libswap.__main__ import main\n"
        f"sys.argv[1:] = ['scan', '--html', {str(tmp_path / 'page.html')!r}]; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "libswap[html]" in done.stderr) == (16, True)
    assert not (tmp_path / "page.html").exists()
