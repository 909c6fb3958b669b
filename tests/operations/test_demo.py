"""Every row of the demo, as it was seen in real processes."""

from pathlib import Path

import pytest

from libswap.errors.base import MissingTool, ProgramFailed
from libswap.operations.demo import demonstrate, workshop
from libswap.operations.demo.result import Act, Answer, Demonstration, Scene

OLD, NEW = Answer(code=1, data=1), Answer(code=2, data=2)

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def shown() -> Demonstration:
    return demonstrate()


def scene(shown: Demonstration, name: str) -> Scene:
    return next(scene for scene in shown.scenes if scene.name == name)


def test_cp_over_a_library_that_nobody_has_loaded_is_fine(shown: Demonstration) -> None:
    seen = scene(shown, "closed, then cp over it")
    assert (seen.died_of, seen.answers) == (None, (OLD, NEW))
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so", True)


def test_cp_over_a_loaded_library_ends_the_process(shown: Demonstration) -> None:
    seen = scene(shown, "cp over it while loaded")
    assert (seen.died_of, seen.answers) == ("SIGSEGV", (OLD,))


def test_junk_over_a_loaded_library_ends_the_process(shown: Demonstration) -> None:
    seen = scene(shown, "junk over it while loaded")
    assert seen.died_of in ("SIGBUS", "SIGSEGV")  # where lld lays the code into the first page
    assert seen.answers == (OLD,)


def test_a_library_installed_over_closed_and_loaded_again_is_the_new_one(
    shown: Demonstration,
) -> None:
    seen = scene(shown, "install over it, close, load")
    assert (seen.died_of, seen.answers) == (None, (OLD, NEW))
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so", True)


def test_a_library_installed_over_and_loaded_again_is_still_the_old_one(
    shown: Demonstration,
) -> None:
    seen = scene(shown, "install over it, load again")
    assert (seen.died_of, seen.answers, seen.same_handle) == (None, (OLD, OLD), True)
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so (deleted)", False)


def test_a_removed_library_goes_on_under_the_name_deleted(shown: Demonstration) -> None:
    seen = scene(shown, "rm, then cp")
    assert (seen.died_of, seen.answers) == (None, (OLD, OLD))
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so (deleted)", False)


def test_a_library_moved_away_goes_on_and_nothing_says_deleted(shown: Demonstration) -> None:
    seen = scene(shown, "mv, then cp")
    assert (seen.died_of, seen.answers) == (None, (OLD, OLD))
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so.bak", False)


def test_an_overwrite_in_place_runs_new_code_on_old_data_and_nothing_in_maps_tells(
    shown: Demonstration,
) -> None:
    seen = scene(shown, "overwritten in place")
    assert (seen.died_of, seen.answers) == (None, (OLD, Answer(code=2, data=1)))
    assert (seen.mapped, seen.mapped_is_file) == ("lib.so", True)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("closed, then cp over it", "probably overwritten"),  # when it was loaded, nothing tells
        ("install over it, close, load", "current"),
        ("rm, then cp", "replaced"),
        ("mv, then cp", "superseded"),  # the name that is left is that of a backup
        ("overwritten in place", "overwritten"),
    ],
)
def test_a_scan_finds_what_maps_tells_and_the_overwrite_that_it_does_not(
    shown: Demonstration, name: str, state: str
) -> None:
    assert scene(shown, name).scanned == state


def test_old_and_new_library_differ_and_have_the_same_size(tmp_path: Path) -> None:
    built = workshop.Workshop.build(tmp_path)
    assert built.old.read_bytes() != built.new.read_bytes()
    assert built.old.stat().st_size == built.new.stat().st_size


def test_without_a_compiler_the_demo_names_the_line_that_installs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workshop, "find", lambda _: None)
    monkeypatch.setattr(workshop, "find_spec", lambda _: None)
    with pytest.raises(MissingTool, match="C compiler") as refused:
        demonstrate()
    assert "apt-get install" in refused.value.hint


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "_compiler", lambda: ("/bin/false",))
    with pytest.raises(ProgramFailed, match="status 1"):
        demonstrate()


def act(shown: Demonstration, command: str) -> Act:
    return next(act for act in shown.acts if act.command.startswith(command))


def test_check_finds_the_new_library_compatible_and_who_uses_the_old(
    shown: Demonstration,
) -> None:
    seen = act(shown, "libswap check")
    assert seen.said == "compatible, used by the service"
    assert (seen.after.code, seen.fresh.code) == (1, 1)


def test_an_installed_library_is_for_new_processes_and_the_running_one_goes_on(
    shown: Demonstration,
) -> None:
    seen = act(shown, "libswap install")
    assert (seen.before.code, seen.after.code, seen.fresh.code) == (1, 1, 2)
    assert seen.mapped == ("libdemo.so.1 (deleted)",)


@pytest.mark.ptrace
def test_the_running_process_is_moved_onto_the_new_library_and_keeps_its_count(
    shown: Demonstration,
) -> None:
    seen = act(shown, "libswap live")
    assert seen.said.startswith("moved in a stop of ")
    assert (seen.before.code, seen.after.code, seen.fresh.code) == (1, 2, 2)
    assert seen.after.count == seen.before.count + 1
    assert "libdemo.so.1" in seen.mapped


@pytest.mark.ptrace
def test_the_running_process_is_moved_back(shown: Demonstration) -> None:
    seen = act(shown, "libswap revert")
    assert (seen.before.code, seen.after.code, seen.fresh.code) == (2, 1, 2)
    assert seen.after.count == seen.before.count + 1


def test_after_a_rollback_new_processes_run_the_old_library_again(shown: Demonstration) -> None:
    assert act(shown, "libswap rollback").fresh.code == 1


def test_one_service_has_lived_through_all_acts_and_counted_its_calls(
    shown: Demonstration,
) -> None:
    counts = [count for act in shown.acts for count in (act.before.count, act.after.count)]
    assert counts == list(range(1, 2 * len(shown.acts) + 1))
    assert len({act.pid for act in shown.acts}) == 1
