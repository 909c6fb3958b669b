import os
from pathlib import Path

from libswap.install import history, records
from libswap.install.content import File, Nothing
from libswap.install.history import Operation, Outcome
from libswap.install.transaction import Caller, Change, Kind, Strategy, Transaction
from libswap.linux.files import Directory, FileId

CALLER = Caller(0, "root", None)


def operation(number: int, *, path: str = "/lib/x", outcome: Outcome = Outcome.DONE) -> Operation:
    old = File(f"old{number}", 1, None, None, None, None)
    directory, name = path.rsplit("/", 1)
    keep = f"kept{number}"
    change = Change(directory, FileId(1, 1), name, old, Nothing(), None, "", keep)
    made = Transaction(f"id{number}", Kind.INSTALL, number, CALLER, Strategy.RENAME, (change,))
    return Operation(made, outcome, number)


def test_operations_are_appended_and_read_in_order(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        assert history.load(directory).operations == ()
        for number in range(3):
            history.record(directory, operation(number))
        assert history.load(directory).operations == tuple(operation(n) for n in range(3))


def test_a_torn_line_is_counted_and_the_next_one_is_not_spoilt_by_it(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        history.record(directory, operation(0))
        with (tmp_path / "history").open("ab") as file:
            file.write(b"0123 torn")
        assert history.load(directory).damaged == (2,)
        history.record(directory, operation(1))
        found = history.load(directory)
    assert [o.transaction.id for o in found.operations] == ["id0", "id1"]
    assert found.damaged == (2,)


def test_an_operation_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        history.record(directory, operation(0))
        history.record(directory, operation(0))
        assert len(history.load(directory).operations) == 1


def test_what_was_undone_needs_no_kept_files(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        assert history.kept(directory) == history.Kept(frozenset(), frozenset())
        history.record(directory, operation(0))
        history.record(directory, operation(1, outcome=Outcome.UNDONE))
        assert history.kept(directory).ever == {"kept0"}
        assert history.load(directory).last_of("/lib/x") == operation(0)


def test_the_newest_change_of_each_name_is_what_the_next_rollback_needs(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        for made in (operation(0), operation(1), operation(2, path="/lib/y")):
            history.record(directory, made)
        assert history.kept(directory).latest == {"kept1", "kept2"}
        assert history.find(directory, "id1") == operation(1)
        assert history.find(directory, "id") is None


def test_an_operation_is_found_wherever_it_stands_in_a_long_history(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        made = [operation(number) for number in range(200)]
        lines = b"".join(map(records.line, made))
        (tmp_path / "history").write_bytes(b"torn\n" + lines + b"torn")
        assert len(lines) > 1 << 16
        assert [history.find(directory, one.transaction.id) for one in made] == made
        assert history.find(directory, "id200") is None


def test_a_line_that_a_crash_broke_off_is_not_found_and_what_it_needs_is_unclear(
    tmp_path: Path,
) -> None:
    with Directory(str(tmp_path)) as directory:
        history.record(directory, operation(0))
        assert history.kept(directory).unneeded(["kept0", "kept1"]) == {"kept1"}
        history.record(directory, operation(1))
        os.truncate(tmp_path / "history", (tmp_path / "history").stat().st_size - 1)
        assert history.find(directory, "id1") is None
        assert history.find(directory, "id0") == operation(0)
        kept = history.kept(directory)
    assert kept.unneeded(["kept0", "kept1"]) == frozenset()
    assert kept.unclear(["kept0", "kept1"]) == {"kept1"}
