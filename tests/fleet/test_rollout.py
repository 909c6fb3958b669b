import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from libswap.errors.base import NotConfirmed, UsageError
from libswap.errors.fleet import InventoryUnusable, NoSuchRollout, NotReady, RolloutBusy
from libswap.errors.install import NoSpace
from libswap.fleet import ansible, record
from libswap.fleet.ansible import Follower, Happened, TaskEvent
from libswap.fleet.following import Looking, Upgrade
from libswap.fleet.record import Reached
from libswap.fleet.rollout import (
    Machine,
    Outlook,
    Request,
    Rollout,
    Stage,
    State,
    ordered,
    serial,
    to_take_back,
)
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.linux.locks import try_lock
from libswap.operations.fleet import Damaged, Left, batches, left, plan, status, take_back
from libswap.settings import Settings

REQUEST = Request(
    source="/new.so", sha256="0" * 64, destination="/usr/lib/libx.so.1", inventories=("hosts",),
    canaries=("c", "d"),
)  # fmt: skip
ROLLOUT = Rollout(
    id="20260102-030405-abcd", started=1.0, request=REQUEST,
    machines=tuple(map(Machine, ("c", "d", "a", "b"))),
)  # fmt: skip


def test_canaries_come_first_each_alone() -> None:
    assert ordered(("a", "b", "c", "d"), REQUEST.canaries) == ("c", "d", "a", "b")
    assert serial(REQUEST, 0) == ("1", "1", *REQUEST.batches)
    assert serial(REQUEST, 1) == ("1", *REQUEST.batches)
    assert serial(REQUEST, 3) == REQUEST.batches


def test_the_exit_code_says_whether_all_is_well() -> None:
    done = replace(ROLLOUT, stage=Stage.DONE)
    assert done.exit_code == 0
    assert replace(done, machines=(Machine("a", State.FAILED),)).exit_code == 48
    assert replace(ROLLOUT, stage=Stage.TAKEN_BACK).exit_code == 48
    assert replace(ROLLOUT, stage=Stage.HALTED).exit_code == 49


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1,,2", "ten", "10%%", "٣", "9" * 5000])
def test_a_batch_has_a_size(text: str) -> None:
    with pytest.raises(UsageError):
        batches(text)
    assert batches("1, 10%,100%") == ("1", "10%", "100%")


def test_a_record_says_what_was_noted_last(tmp_path: Path) -> None:
    with record.begun(tmp_path, ROLLOUT) as written:
        written.note(Machine("c", State.UNKNOWN))
        written.note(Machine("c", State.INSTALLED, operation="op"))
        written.note(Reached(Stage.HALTED))
    found = record.load(tmp_path, ROLLOUT.id)
    assert left(ROLLOUT.id, Settings(state_dir=tmp_path)) == Left(ROLLOUT.id, (), ("c",))
    assert found.machines[0] == Machine("c", State.INSTALLED, operation="op")
    assert (found.stage, found.named(State.PENDING)) == (Stage.HALTED, ("d", "a", "b"))
    assert found.request == REQUEST


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_line_that_a_crash_tore_is_passed_over(tmp_path: Path, torn: int) -> None:
    with record.begun(tmp_path, ROLLOUT) as written:
        written.note(Machine("c", State.INSTALLED))
        written.note(Machine("d", State.INSTALLED))
    path = tmp_path / "fleet" / ROLLOUT.id
    path.write_bytes(path.read_bytes()[:-torn])
    found = record.load(tmp_path, ROLLOUT.id)
    assert found.named(State.INSTALLED) == ("c",)


def test_what_is_no_record_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    for name, text in (("empty", b""), ("junk", b"x" * 5000 + b"\n")):
        (tmp_path / "fleet" / name).write_bytes(text)
        with pytest.raises(NoSuchRollout, match="damaged"):
            record.load(tmp_path, name)
    for name in ("absent", "../fleet/junk", "/etc/passwd"):
        with pytest.raises(NoSuchRollout, match="there is none"):
            record.load(tmp_path, name)


def test_two_cannot_follow_one_upgrade(tmp_path: Path) -> None:
    with (
        record.begun(tmp_path, ROLLOUT),
        pytest.raises(RolloutBusy),
        record.resumed(tmp_path, ROLLOUT.id),
    ):
        pass


def test_what_could_not_be_taken_back_is_said_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter((Happened.UNREACHABLE, Happened.SUCCEEDED))

    def play(
        name: str, *_: object, on: tuple[str, ...], follower: Follower,
        libswap_operations: dict[str, str],
    ) -> None:  # fmt: skip
        assert (name, on, libswap_operations) == ("rollback", ("c",), {"c": "op"})
        follower.event(TaskEvent("c", "Put the old library back", next(answers), {"msg": "no"}))

    monkeypatch.setattr(ansible, "play", play)
    settings = Settings(state_dir=tmp_path)
    with record.begun(tmp_path, ROLLOUT) as written:
        written.note(Machine("c", State.INSTALLED, operation="op"))
        written.note(Reached(Stage.DONE))
    first = take_back(ROLLOUT.id, settings)
    assert (first.stage, first.exit_code) == (Stage.HALTED, 49)
    assert take_back(ROLLOUT.id, settings).stage is Stage.TAKEN_BACK


def test_only_what_an_upgrade_has_installed_is_taken_back(tmp_path: Path) -> None:
    """`d` had the file, `a` was begun and cut off; on `b` somebody else was first."""
    had = replace(ROLLOUT, machines=(Machine("d", operation=""), *map(Machine, "cab")))
    with record.begun(tmp_path, had) as written:
        written.note(Machine("a", State.UNKNOWN))
        upgrade = Upgrade(written, lambda _: None)
        for name, operation in (("c", {"operation": "op"}), ("d", {}), ("a", {}), ("b", {})):
            upgrade.event(TaskEvent(name, "Install", Happened.BEGAN, {}))
            upgrade.event(TaskEvent(name, "Install", Happened.SUCCEEDED, operation))
        assert to_take_back(written.rollout) == ("c", "a")
        assert [one.operation for one in written.rollout.machines] == ["", "op", None, ""]


def test_an_installation_that_failed_half_way_is_known_by_its_operation(tmp_path: Path) -> None:
    with record.begun(tmp_path, ROLLOUT) as written:
        upgrade = Upgrade(written, lambda _: None)
        upgrade.event(TaskEvent("c", "Install", Happened.FAILED, {"operation": "op"}))
        upgrade.event(TaskEvent("d", "Install", Happened.UNREACHABLE, {}))
    assert [one.operation for one in written.rollout.machines[:2]] == ["op", None]
    assert to_take_back(written.rollout) == ("c", "d")


def test_a_machine_with_the_file_and_processes_on_the_old_one_is_not_done() -> None:
    found: dict[str, Outlook] = {}
    looking = Looking(found)
    result = {"changed": True, "replaced": False}
    looking.event(TaskEvent("a", "What would be done", Happened.SUCCEEDED, result))
    assert found == {"a": Outlook("a", unchanged=False, installed=True)}


def test_a_damaged_record_hides_no_other(tmp_path: Path) -> None:
    with record.begun(tmp_path, ROLLOUT):
        pass
    (tmp_path / "fleet" / "empty").touch()
    found = status(None, Settings(state_dir=tmp_path))
    assert [one.id for one in found.rollouts] == [ROLLOUT.id]
    assert found.damaged == (Damaged(str(tmp_path / "fleet/empty"), "its record is damaged"),)


def test_a_record_has_its_name_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        assert record.names(tmp_path) == ()
        raise NoSpace(str(tmp_path), "full")

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(NoSpace), record.begun(tmp_path, ROLLOUT):
        pass
    assert list((tmp_path / "fleet").iterdir()) == []


def test_what_a_killed_beginner_left_is_removed_and_what_another_begins_is_not(
    tmp_path: Path,
) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    (fleet / ".left").touch()
    (fleet / ".begun").touch()
    with Directory(str(fleet)) as directory:
        lock = try_lock(directory, ".begun", 0)
        assert lock is not None
        with record.begun(tmp_path, ROLLOUT):
            assert sorted(p.name for p in fleet.iterdir()) == [".begun", ROLLOUT.id]
        os.close(lock)


def test_warnings_of_ansible_are_no_machines(tmp_path: Path) -> None:
    pytest.importorskip("ansible_runner")
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[a-group]\none\ntwo\n")
    assert ansible.hosts(replace(REQUEST, inventories=(str(inventory),))) == ("one", "two")
    with pytest.raises(InventoryUnusable, match="there is no such file"):
        ansible.hosts(replace(REQUEST, inventories=(str(inventory), str(tmp_path / "absent"))))


def test_an_upgrade_of_no_machine_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(*_: object, follower: Follower, **__: object) -> None:
        for name in ("c", "d"):
            follower.event(TaskEvent(name, "What would be done", Happened.UNREACHABLE, {}))

    monkeypatch.setattr(ansible, "hosts", lambda _: ("c", "d"))
    monkeypatch.setattr(ansible, "play", play)
    with pytest.raises(NotReady, match="none of the machines can be upgraded: c: it failed"):
        plan(REQUEST, skip_unready=True)


def test_nothing_is_taken_back_unasked(tmp_path: Path) -> None:
    with record.begun(tmp_path, ROLLOUT) as written:
        written.note(Machine("c", State.INSTALLED, operation="op"))
    words = ("fleet", "rollback", ROLLOUT.id, f"--state-dir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "libswap", *words], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == NotConfirmed.exit_code, done
    assert "rollback would take back: c" in done.stderr
    assert record.load(tmp_path, ROLLOUT.id).stage is Stage.RUNNING
