"""`import libswap` as a program uses it."""

import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import libswap
from libswap.errors.base import NotConfirmed, SystemRefused, UsageError
from support.compiler import FIXTURES, Compiler
from support.holders import hold, holder
from support.site import Site, library
from support.swapping import Stage

ROOT = Path(__file__).parents[2]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_it_loads_nothing_and_a_scan_nothing_that_changes_things() -> None:
    code = (
        "import sys, libswap\n"
        "loaded = lambda: {m for m in sys.modules if m.startswith('libswap.')}\n"
        "assert not loaded(), loaded()\n"
        "libswap.scan_machine\n"
        "assert 'libswap.operations.scan' in loaded()\n"
        "assert not loaded() & {'libswap.patch', 'libswap.operations.swap'}\n"
    )
    assert python(code).stderr == ""


def test_every_public_name_is_there_and_none_is_a_subpackage() -> None:
    """A subpackage takes the place of its parent's attribute when it is imported."""
    subpackages = {module.name for module in pkgutil.iter_modules(libswap.__path__)}
    assert subpackages.isdisjoint(libswap.__all__)
    assert set(libswap.__all__) <= set(dir(libswap))
    assert all(getattr(libswap, name) for name in libswap.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(libswap, "no_such_operation")


def test_type_checkers_see_the_functions(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import libswap\n"
        "found: libswap.Scan = libswap.scan_machine()\n"
        "wrong: int = libswap.scan_machine()\n"
        "libswap.scna()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary",
         f"--cache-dir={tmp_path}", program], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    errors = [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line]
    assert errors == ["3", "4"], done.stdout


@pytest.mark.compiler
def test_a_library_is_planned_installed_told_of_and_rolled_back(
    compiler: Compiler, site: Site
) -> None:
    place = site.place(library(compiler, 1), "libx.so.1")
    old, new = place.read_bytes(), library(compiler, 2)
    plan = libswap.plan_install(new, place, settings=site.settings)
    assert [change.path for change in plan.transaction.changes] == [str(place)]
    assert place.read_bytes() == old
    done = libswap.install_library(new, place, settings=site.settings)
    assert done.operation is not None
    assert place.read_bytes() == new.read_bytes()
    (told,) = libswap.history(place, settings=site.settings).operations
    assert told.transaction.id == done.operation.transaction.id
    libswap.rollback(place, settings=site.settings)
    assert place.read_bytes() == old
    assert libswap.recover(settings=site.settings).operation is None
    assert libswap.prune(dry_run=True, settings=site.settings).operation is None


@pytest.mark.compiler
def test_what_a_person_would_be_asked_is_refused_without_a_yes(
    compiler: Compiler, site: Site
) -> None:
    place = site.place(library(compiler, 1, extra="gone"), "libx.so.1")
    before, new = place.read_bytes(), library(compiler, 2, extra="came")
    force = libswap.Allowance(force=True)
    with pytest.raises(NotConfirmed):
        libswap.install_library(new, place, allow=force, settings=site.settings)
    assert place.read_bytes() == before
    libswap.install_library(new, place, allow=force, yes=True, settings=site.settings)
    assert place.read_bytes() == new.read_bytes()


@pytest.mark.compiler
def test_several_libraries_go_into_a_directory_together(compiler: Compiler, site: Site) -> None:
    built = {n: library(compiler, n, soname=f"lib{n}.so.1") for n in (1, 2)}
    sources = [shutil.copy(file, site.root / f"lib{n}.so.1") for n, file in built.items()]
    site.lib.mkdir()
    libswap.install_library(sources, site.lib, settings=site.settings)
    assert site.names() == ["lib1.so.1", "lib2.so.1"]
    with pytest.raises(UsageError):
        libswap.install_library([], site.lib, settings=site.settings)


@pytest.mark.compiler
def test_who_uses_a_library_is_found(compiler: Compiler, site: Site) -> None:
    place = site.place(library(compiler, 1), "libx.so.1")
    with hold(holder(compiler), "dlopen", place) as held:
        (user,) = libswap.scan_files([place], settings=site.settings).users
        assert user.process.identity.pid == held.pid
        place.unlink()
        groups = libswap.scan_machine(settings=site.settings).groups
        assert held.pid in {u.process.identity.pid for g in groups for u in g.users}


@pytest.mark.compiler
@pytest.mark.ptrace
def test_a_library_is_drained_settled_and_taken_back(compiler: Compiler, site: Site) -> None:
    site.lib.mkdir()
    stage = Stage(compiler, site.lib / "libobjects.so")
    old, new = (stage.build("drain/objects.c", "-g", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/user.c", "-pthread", "-include", str(stage.header))
    drafted = site.root / "drafted.toml"
    drafted.write_text(libswap.draft_handles(stage.place).toml)
    described = FIXTURES / "drain" / "objects.toml"
    assert [libswap.show_handles(str(d)).libraries for d in (drafted, described)] == [
        ("libobjects.so",)
    ] * 2
    assert "expat" in [d.name for d in libswap.list_handles().descriptions]
    how = libswap.DrainOptions((described,), limit=3600, then=libswap.DrainThen.WARN)
    with stage.running(user) as target:
        assert target.ask("new 0 10") == "1"
        stage.install(new)
        pids, settings = [target.pid], site.settings
        planned = libswap.drain(
            stage.place, pids=pids, drain_options=how, dry_run=True, settings=settings
        )
        assert isinstance(planned.processes[0].outcome, libswap.DrainPlanned)
        begun = libswap.drain(stage.place, pids=pids, drain_options=how, settings=settings)
        assert isinstance(begun.processes[0].outcome, libswap.DrainBegun)
        assert [target.ask(q) for q in ("new 1 10", "step 0", "step 1")] == ["1", "11", "12"]
        still = libswap.settle(stage.place, pids=pids)
        assert isinstance(still.processes[0].outcome, libswap.StillDraining)
        assert still.exit_code == 122
        (left,) = libswap.status(pids).processes[0].drains
        assert isinstance(left, libswap.DrainLeft)
        assert (left.seen, left.new, left.then) == (1, 1, libswap.DrainThen.WARN)
        assert not isinstance(libswap.revert(pids).processes[0].outcome, libswap.TakenBack)
        assert target.ask("free 1") == "0"
        back = libswap.settle([stage.place], pids=pids)
        assert isinstance(back.processes[0].outcome, libswap.TakenBack)
        done = libswap.install_and_swap(
            new, stage.place, drain=how, yes=True, settings=site.settings
        )
        assert done.exit_code == 0
        assert target.ask("free 0") == "0"
        (ended,) = libswap.settle(stage.place, pids=pids).processes
        assert isinstance(ended.outcome, libswap.Settled)


def test_a_library_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SystemRefused, match="cannot read"):
        libswap.swap(tmp_path / "libnothing.so", settings=libswap.Settings(state_dir=tmp_path))


@pytest.mark.compiler
@pytest.mark.ptrace
def test_a_process_is_moved_and_moved_back_and_a_function_of_it_replaced(
    compiler: Compiler, site: Site
) -> None:
    site.lib.mkdir()
    stage = Stage(compiler, site.lib / "libversion.so")
    stage.install(stage.build("live/version.c", "-g", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        source = site.root / "fix.c"
        source.write_text("int version(void) { return 7; }\n")
        built = libswap.build_patch([source], stage.place, site.root / "fix.lsp")
        assert libswap.show_patch(built.path).identity == built.identity
        applied = libswap.apply_patch(built.path, pids=[target.pid])
        assert (applied.exit_code, target.ask("version")) == (0, "7")
        assert len(libswap.list_patches([target.pid]).processes[0].patches) == 1
        assert libswap.verify_patches([target.pid]).exit_code == 0
        assert libswap.revert_patch([target.pid]).exit_code == 0
        new = stage.build("live/version.c", version=2)
        done = libswap.install_and_swap(new, stage.place, settings=site.settings)
        assert (done.exit_code, target.ask("version")) == (0, "2")
        assert libswap.status([target.pid]).processes[0].events
        assert libswap.revert([target.pid]).exit_code == 0
        assert target.ask("version") == "1"
        again = libswap.swap(stage.place, pids=[target.pid], settings=site.settings)
        assert isinstance(again.processes[0].outcome, libswap.Moved)
        assert target.ask("version") == "2"
