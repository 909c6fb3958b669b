"""One round over real files: what is deployed where, what is refused and why, and what is left."""

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from libswap.errors.base import SystemRefused
from libswap.errors.install import LockHeld
from libswap.errors.watch import UntrustedDrop
from libswap.install.state import locked
from libswap.linux import files
from libswap.operations import ledger
from libswap.operations.deployments import Outcome, Preview
from libswap.watch import entry
from libswap.watch.bell import Bell
from libswap.watch.conveyor import Conveyor
from libswap.watch.dropdir import DropDirectory
from libswap.watch.hours import Span
from libswap.watch.rule import Accept, Health, Limits
from libswap.watch.settle import Patience
from libswap.watch.watcher import Watcher
from libswap.watch.workplace import workplace
from support.dropping import Drop

pytestmark = pytest.mark.compiler

ALWAYS = Span(frozenset(range(7)), 0, 24 * 60)


def test_a_further_version_is_installed_beside_the_old_and_set_aside(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    ended = drop.one()
    assert ended.outcome is Outcome.DEPLOYED
    assert drop.runs() == 2
    assert (drop.lib / "libx.so.1").readlink() == Path("libx.so.1.2")
    assert (drop.aside("deployed"), drop.aside("rejected"), drop.lying()) == (
        ["libx.so.1.2"],
        [],
        [],
    )
    assert drop.operations() == ["install"]
    assert ended.operation == drop.ledger()[0].operation is not None


@pytest.mark.parametrize("name", ["libx.so.1.1", "libx.so.1", "build-77.so"])
def test_a_name_maps_to_the_file_it_names_or_to_what_its_soname_leads_to(
    drop: Drop, name: str
) -> None:
    drop.put(name)
    assert drop.one().outcome is Outcome.DEPLOYED
    assert sorted(p.name for p in drop.lib.iterdir()) == ["libx.so.1", "libx.so.1.1"]
    assert drop.runs() == 2


def test_a_rule_maps_a_name_to_a_file_of_its_own(drop: Drop, tmp_path: Path) -> None:
    elsewhere = tmp_path / "scene/else.so"
    elsewhere.write_bytes(drop.bytes_of(1))
    drop.change(targets=(("libx*", str(elsewhere)),))
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.DEPLOYED
    assert (drop.runs(), elsewhere.read_bytes()) == (1, drop.bytes_of(2))


def test_what_maps_to_nothing_is_refused_unless_new_libraries_are_allowed(drop: Drop) -> None:
    drop.put("liby.so.1", drop.bytes_of(2, soname="liby.so.1"))
    assert drop.one().outcome is Outcome.REJECTED
    assert "nothing of its name or its SONAME liby.so.1" in drop.reason("liby.so.1")
    drop.change(new=True)
    drop.put("liby.so.1", drop.bytes_of(2, soname="liby.so.1"))
    assert drop.one().outcome is Outcome.DEPLOYED
    assert (drop.lib / "liby.so.1").read_bytes() == drop.bytes_of(2, soname="liby.so.1")


def test_what_is_not_wanted_by_name_is_refused(drop: Drop) -> None:
    drop.change(names=("liby*",))
    drop.put("libx.so.1.2")
    assert drop.one().reason.endswith("its name is none of liby*")


def test_an_incompatible_library_is_refused_with_the_findings(drop: Drop) -> None:
    drop.put("libx.so.1.2", drop.bytes_of(2, extra="other"))
    ended = drop.one()
    assert ended.outcome is Outcome.REJECTED
    assert "also" in drop.reason("libx.so.1.2")
    assert (drop.runs(), drop.operations()) == (1, [])
    drop.change(accept=Accept.ANY)
    drop.put("libx.so.1.2", drop.bytes_of(2, extra="other"))
    assert drop.one().outcome is Outcome.DEPLOYED


def test_the_same_bytes_again_change_nothing_and_count_as_deployed(drop: Drop) -> None:
    drop.put("libx.so.1.1", drop.bytes_of(1))
    ended = drop.one()
    assert (ended.outcome, ended.operation) == (Outcome.DEPLOYED, None)
    assert (drop.operations(), drop.aside("deployed")) == ([], ["libx.so.1.1"])


def test_nothing_that_was_set_aside_is_ever_overwritten(drop: Drop) -> None:
    for _ in range(3):
        drop.put("junk.so", b"junk")
        drop.once()
    assert drop.aside("rejected") == [
        "junk.so", "junk.so.1", "junk.so.1.reason", "junk.so.2", "junk.so.2.reason",
        "junk.so.reason",
    ]  # fmt: skip


@pytest.mark.scenario(
    "drop directory",
    ("links, pipes, sockets, directories, hard links",),
    live="refused unopened: DropRefused",
)
def test_links_fifos_sockets_directories_and_hard_links_are_refused_unopened(drop: Drop) -> None:
    (drop.box / "link.so").symlink_to(drop.lib / "libx.so.1.1")
    os.mkfifo(drop.box / "fifo.so")
    (drop.box / "dir.so").mkdir()
    (drop.root / "other").write_bytes(drop.bytes_of(2))
    (drop.box / "hard.so").hardlink_to(drop.root / "other")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drop.box / "sock.so"))
    reasons = {e.deployment.drops[0].name: e.reason for e in drop.once().ended}
    assert "symbolic link" in reasons["link.so"]
    assert "FIFO" in reasons["fifo.so"]
    assert "directory" in reasons["dir.so"]
    assert "2 hard links" in reasons["hard.so"]
    assert "socket" in reasons["sock.so"]
    assert drop.lying() == []
    assert (drop.box / "rejected/link.so").is_symlink()
    assert drop.operations() == []


@pytest.mark.scenario("drop directory", ("a device",), live="refused unopened: DropRefused")
@pytest.mark.root
def test_a_device_is_refused_unopened(drop: Drop) -> None:
    os.mknod(drop.box / "tty.so", 0o20600, os.makedev(5, 0))
    assert "device" in drop.one().reason


@pytest.mark.scenario("drop directory", ("a file that becomes another as it is taken",),
                      live="not taken; looked at again")  # fmt: skip
@pytest.mark.parametrize("trick", ["rewritten", "a link", "another", "gone"])
def test_a_file_that_becomes_another_while_it_is_taken_is_not_deployed(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    path, copy = drop.put("libx.so.1.2"), files.copy
    secret = drop.root / "secret"
    secret.write_bytes(drop.bytes_of(3))

    def copying(source: int, target: int, size: int, name: str) -> None:
        monkeypatch.setattr(files, "copy", copy)
        copy(source, target, size, name)
        if trick == "rewritten":
            path.write_bytes(b"j" * size)
            return
        path.unlink()
        if trick == "a link":
            path.symlink_to(secret)
        elif trick == "another":
            path.write_bytes(b"junk")

    monkeypatch.setattr(files, "copy", copying)
    assert [e.outcome for e in drop.once().ended] in ([], [Outcome.REJECTED])
    assert (drop.runs(), drop.operations()) == (1, [])
    drop.put("libx.so.1.2")
    drop.once()
    assert drop.runs() == 2


@pytest.mark.scenario("drop directory", ("a file that others could have written",),
                      live="refused, unless a signature speaks for it")  # fmt: skip
@pytest.mark.root
def test_a_file_that_others_could_have_written_is_refused(drop: Drop) -> None:
    os.chown(drop.put("libx.so.1.2"), 12345, 12345)
    assert "belongs to user 12345" in drop.one().reason
    drop.put("libx.so.1.2").chmod(0o666)
    assert "everybody can write to it" in drop.one().reason
    assert drop.runs() == 1


@pytest.mark.scenario(
    "drop directory", ("others can write to it or above it",), live="refused: UntrustedDrop"
)
@pytest.mark.root
def test_a_directory_that_others_can_write_to_is_not_watched(drop: Drop) -> None:
    drop.box.chmod(0o777)
    with pytest.raises(UntrustedDrop, match="everybody"):
        drop.once()
    drop.box.chmod(0o755)
    os.chown(drop.root, 12345, -1)
    with pytest.raises(UntrustedDrop, match="belongs to user 12345"):
        drop.once()


def test_unfinished_and_foreign_names_are_left_alone(drop: Drop) -> None:
    names = [
        ".libx.so.1.2.swp", "libx.so.1.2.dpkg-new", "libx.so.1.2.dpkg-tmp", "libx.so.1.2~",
        "libx.so.1.2.part", "#libx.so.1.2#", "libx.so.1.2.bak",
    ]  # fmt: skip
    for name in names:
        (drop.box / name).write_bytes(drop.bytes_of(2))
    done = drop.once()
    assert (done.ended, done.waiting, drop.lying()) == ((), (), sorted(names))


def test_a_file_that_is_cut_off_waits_for_its_rest(drop: Drop) -> None:
    whole = drop.bytes_of(2)
    path = drop.box / "libx.so.1.2"
    for end in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        done = drop.once()
        assert (done.ended, done.waiting) == ((), ("libx.so.1.2",)), end
    path.write_bytes(whole)
    assert drop.one().outcome is Outcome.DEPLOYED


def test_a_file_that_somebody_still_writes_to_waits(drop: Drop) -> None:
    with (drop.box / "libx.so.1.2").open("wb") as file:
        file.write(drop.bytes_of(2))
        file.flush()
        assert drop.once().waiting == ("libx.so.1.2",)
    assert drop.one().outcome is Outcome.DEPLOYED


def test_a_file_of_which_the_rest_never_comes_is_refused_in_the_end(drop: Drop) -> None:
    drop.put("libx.so.1.2", drop.bytes_of(2)[:999])
    drop.change(patience=Patience(0.0, 0.0, 0.0))
    assert drop.one().outcome is Outcome.REJECTED
    assert "not a usable shared library" in drop.reason("libx.so.1.2")


def test_files_with_a_manifest_are_one_transaction(drop: Drop) -> None:
    (drop.lib / "liby.so").write_bytes(drop.bytes_of(1, soname="liby.so"))
    new = {"libx.so.1.2": drop.bytes_of(2), "liby.so": drop.bytes_of(2, soname="liby.so")}
    listing = "".join(f"{hashlib.sha256(d).hexdigest()}  {n}\n" for n, d in new.items())
    drop.put("release.manifest", listing.encode())
    drop.change(gather=60.0)
    drop.put("libx.so.1.2", new["libx.so.1.2"])
    done = drop.once()
    assert (done.ended, done.waiting) == ((), ("libx.so.1.2", "release.manifest"))
    drop.put("liby.so", new["liby.so"])
    ended = drop.one()
    assert ended.outcome is Outcome.DEPLOYED
    assert drop.operations() == ["install"]
    assert (drop.runs(), (drop.lib / "liby.so").read_bytes()) == (2, new["liby.so"])
    assert drop.aside("deployed") == ["libx.so.1.2", "liby.so", "release.manifest"]


@pytest.mark.scenario(
    "drop directory",
    ("a manifest with digests of other files",),
    live="all of its files are refused",
)
def test_a_manifest_whose_files_are_others_takes_all_of_them_down(drop: Drop) -> None:
    wrong = hashlib.sha256(b"something else").hexdigest()
    drop.put("libx.so.1.2")
    drop.put("release.manifest", f"{wrong}  libx.so.1.2\n".encode())
    assert "not the file that release.manifest lists" in drop.one().reason
    assert (drop.runs(), drop.lying()) == (1, [])


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", f"{'0' * 64}  ../../etc/passwd\n", f"{'0' * 64}  a\n" * 2, "\xff"]
)
def test_a_text_that_is_no_manifest_is_refused(drop: Drop, text: str) -> None:
    drop.put("release.manifest", text.encode("latin-1"))
    done = drop.once()
    assert [e.outcome for e in done.ended] == [Outcome.REJECTED] or done.waiting


def test_a_manifest_whose_files_never_come_is_refused(drop: Drop) -> None:
    drop.put("release.manifest", f"{'0' * 64}  libx.so.1.2\n".encode())
    assert "not here after 0 seconds: libx.so.1.2" in drop.one().reason


@pytest.mark.scenario(
    "drop directory", ("a file larger than allowed",), live="refused: DropRefused"
)
def test_a_file_that_is_too_big_is_refused_without_being_copied(drop: Drop) -> None:
    drop.change(limits=Limits(file_bytes=100))
    drop.put("libx.so.1.2")
    assert "100 are allowed" in drop.one().reason


@pytest.mark.scenario(
    "drop directory", ("files that would fill the disk",), live="wait until there is room"
)
def test_a_disk_that_is_nearly_full_makes_everything_wait(drop: Drop) -> None:
    drop.change(limits=Limits(free_bytes=1 << 60))
    drop.put("libx.so.1.2")
    done = drop.once()
    assert (done.ended, done.waiting) == ((), ("libx.so.1.2",))
    assert (done.troubled, done.exit_code) == ((str(drop.box),), 116)
    assert any("are to stay free" in h.text and h.trouble for h in drop.happened)


def test_a_directory_that_cannot_be_listed_is_told_though_nothing_is_seen_to_wait(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(box: DropDirectory) -> list[str]:
        raise SystemRefused("list", box.directory.path, "Input/output error")

    drop.put("libx.so.1.2")
    with monkeypatch.context() as broken:
        broken.setattr(DropDirectory, "names", refused)
        done = drop.once()
    assert "Input/output error" in dict(done.held)[str(drop.box)]
    assert (done.troubled, done.exit_code) == ((str(drop.box),), 116)
    assert drop.once().exit_code == 0


def test_what_only_waits_for_its_hour_is_no_failure(drop: Drop) -> None:
    drop.change(quiet=(ALWAYS,))
    drop.put("libx.so.1.2")
    done = drop.once()
    assert (done.waiting, done.held) == (("libx.so.1.2",), ((str(drop.box), "quiet hours"),))
    assert (done.troubled, done.exit_code) == ((), 0)
    assert not any(h.trouble for h in drop.happened)


def test_what_was_set_aside_is_kept_within_its_limits(drop: Drop) -> None:
    drop.change(limits=Limits(keep_files=3))
    for number in range(9):
        drop.put(f"{number}.so", b"junk")
    drop.once()
    assert drop.aside("rejected") == [f"{n}.so{end}" for n in (6, 7, 8) for end in ("", ".reason")]


def test_what_was_set_aside_last_is_kept_however_large_it_is(drop: Drop) -> None:
    drop.change(limits=Limits(keep_bytes=1))
    for name in ("1.so", "2.so"):
        drop.put(name, b"junk")
    drop.once()
    assert drop.aside("rejected") == ["2.so", "2.so.reason"]


def test_what_cannot_be_removed_from_the_staging_directory_is_said(drop: Drop) -> None:
    staging = drop.settings.state_dir / "watch/staging"
    staging.mkdir(parents=True)
    (staging / "stray").touch()
    with pytest.raises(SystemRefused, match="stray"):
        drop.once()


def test_a_dry_run_says_what_would_be_and_changes_nothing(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    drop.put("junk.so", b"junk")
    before = sorted(p.name for p in drop.root.rglob("*"))
    shown = entry.preview(drop.configuration, drop.settings)
    assert {f.names: bool(f.refusal) for f in shown.files} == {
        ("junk.so",): True, ("libx.so.1.2",): False,
    }  # fmt: skip
    assert sorted(p.name for p in drop.root.rglob("*")) == before


def _foreseen(drop: Drop, **options: bool) -> Preview:
    return entry.preview(drop.configuration, drop.settings, **options)


def test_a_dry_run_shows_what_waits_and_why_as_the_round_would(drop: Drop) -> None:
    drop.change(quiet=(ALWAYS,))
    assert _foreseen(drop) == Preview((), (), ()), "nothing lies there"
    drop.put("libx.so.1.2")
    shown, done = _foreseen(drop), drop.once()
    assert (shown.files, shown.waiting, shown.held) == ((), done.waiting, done.held)
    drop.change(quiet=(), limits=Limits(free_bytes=1 << 60))
    drop.settings.state_dir.mkdir(exist_ok=True)
    shown, done = _foreseen(drop), drop.once()
    assert (shown.files, shown.waiting) == ((), done.waiting)
    assert str(drop.settings.state_dir) in shown.held[0][1], "not the temporary directory"


def test_a_dry_run_counts_what_an_hour_allows(drop: Drop) -> None:
    drop.change(limits=Limits(per_hour=1))
    drop.put("libx.so.1.2")
    drop.put("libx.so.1.3", 3)
    shown, done = _foreseen(drop), drop.once()
    assert [f.names for f in shown.files] == [("libx.so.1.2",)]
    assert [d.name for e in done.ended for d in e.deployment.drops] == ["libx.so.1.2"]
    assert (shown.waiting, shown.held) == (done.waiting, done.held)


def test_a_dry_run_counts_failures_anew_where_the_round_would(drop: Drop) -> None:
    drop.change(limits=Limits(failures=1), health=Health(command=("/bin/false",)))
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.FAILED
    drop.put("libx.so.1.2", 3)
    assert not _foreseen(drop).files
    assert "1; it is stopped" in _foreseen(drop).held[0][1]
    (one,) = _foreseen(drop, clear=True).files
    assert (one.names, one.refusal) == (("libx.so.1.2",), "")


def test_a_dry_run_says_what_is_gone_on_with_first(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    with locked(drop.settings.state_dir, 0, "install"):
        assert drop.once().postponed
    shown = _foreseen(drop)
    assert (shown.begun, shown.files, shown.waiting) == (("libx.so.1.2",), (), ())
    assert drop.one().outcome is Outcome.DEPLOYED
    assert _foreseen(drop).begun == ()


def test_two_watchers_do_not_share_a_state_or_a_directory(drop: Drop) -> None:
    bell = Bell()
    with workplace(drop.settings) as place:
        with pytest.raises(LockHeld):
            drop.once()
        watcher = Watcher(drop.configuration, Conveyor(drop.settings, place, bell, lambda _: None))
        watcher.adopt(drop.configuration)
        assert ledger.tell(drop.settings).running
        other = drop.settings.__class__(state_dir=drop.root / "elsewhere")
        with pytest.raises(LockHeld):
            entry.once(drop.configuration, other, lambda _: None)
        watcher.close()
    bell.close()
    assert not ledger.tell(drop.settings).running


@pytest.mark.scenario(
    "drop directory",
    ("names that are no text, or of 255 bytes",),
    live="taken or refused like any other",
)
def test_a_name_that_is_no_text_and_a_long_one_are_refused_like_any_other(drop: Drop) -> None:
    for name in (b"\xff\xfe\n.so", b"l" * 255):
        with open(os.fsencode(drop.box) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(b"junk")
    assert [e.outcome for e in drop.once().ended] == [Outcome.REJECTED] * 2
    assert drop.lying() == []
    assert len(drop.aside("rejected")) == 4


@pytest.mark.scenario("drop directory", ("a file that cannot be moved away",), live="deployed once")
@pytest.mark.root
def test_what_cannot_be_moved_away_is_not_taken_twice_and_stops_nothing(drop: Drop) -> None:
    path = drop.put("libx.so.1.2")
    if subprocess.run(["chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("no immutable files here")
    try:
        drop.put("junk.so", b"junk")
        ended = {e.deployment.drops[0].name: e for e in drop.once().ended}
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    assert ended["junk.so"].outcome is Outcome.REJECTED
    assert ended["libx.so.1.2"].outcome is Outcome.DEPLOYED
    assert "it stays in the drop directory" in ended["libx.so.1.2"].remarks[-1]
    assert (drop.runs(), drop.lying()) == (2, ["libx.so.1.2"])
