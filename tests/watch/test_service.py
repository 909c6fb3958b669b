"""The watcher as it runs: real events, real signals, and what it tells its service manager."""

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libswap.errors.base import ReaderGone
from libswap.linux import filesystems, service_manager
from libswap.operations.deployments import Outcome
from libswap.watch import entry
from libswap.watch import events as watching
from libswap.watch.bell import Bell, Stopped
from libswap.watch.events import Events, Hints
from libswap.watch.rule import Health
from libswap.watch.settle import Hint
from support.compiler import Compiler
from support.dropping import Drop, Running
from support.terminal import on_terminal

pytestmark = pytest.mark.compiler


def test_files_are_taken_however_they_come(drop: Drop) -> None:
    with Running(drop) as watcher:
        (drop.box / "libx.so.1.2").write_bytes(drop.bytes_of(2))
        watcher.until("deployed", "libx.so.1.2")
        drop.put("libx.so.1.3", 3)
        watcher.until("deployed", "libx.so.1.3")
        outside = drop.root / "libx.so.1.4"
        outside.write_bytes(drop.bytes_of(4))
        outside.rename(drop.box / outside.name)
        watcher.until("deployed", "libx.so.1.4")
        (drop.box / "link.so").symlink_to("/etc/passwd")
        watcher.until("rejected", "link.so")
        (drop.box / "dir.so").mkdir()
        watcher.until("rejected", "dir.so")
        assert watcher.end() == 0
    assert (drop.runs(), drop.lying()) == (4, [])
    assert drop.operations() == ["install"] * 3


def test_a_file_in_pieces_is_taken_when_the_last_has_come(drop: Drop) -> None:
    data, path = drop.bytes_of(2), drop.box / "libx.so.1.2"
    with Running(drop) as watcher:
        for end in (1, 100, 4000, len(data) - 1):
            path.write_bytes(data[:end])  # each closes the file: an upload that is taken up again
            drop.put(f"{end}.so", b"junk")
            watcher.until("rejected", f"{end}.so")
        assert "deployed" not in watcher.kinds()
        path.write_bytes(data)
        watcher.until("deployed", path.name)
    assert drop.runs() == 2


def test_what_vanishes_or_is_renamed_is_forgotten(drop: Drop) -> None:
    with Running(drop) as watcher:
        cut = drop.box / "libx.so.1.2"
        cut.write_bytes(drop.bytes_of(2)[:500])
        cut.unlink()
        other = drop.box / "libx.so.1.3.part"
        other.write_bytes(drop.bytes_of(3))
        other.rename(drop.box / "libx.so.1.3")
        watcher.until("deployed", "libx.so.1.3")
        drop.put("junk.so", b"junk")
        watcher.until("rejected", "junk.so")
        watcher.end()
    assert [e.deployment.drops[0].name for e in drop.ledger()] == ["libx.so.1.3", "junk.so"]


def test_what_lay_there_before_it_started_is_taken(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    with Running(drop) as watcher:
        watcher.until("deployed", "libx.so.1.2")


def test_a_directory_that_is_moved_away_and_made_anew_is_watched_again(drop: Drop) -> None:
    with Running(drop) as watcher:
        drop.box.rename(drop.root / "old")
        drop.box.mkdir()
        watcher.until("reopened")
        drop.put("libx.so.1.2")
        watcher.until("deployed", "libx.so.1.2")
    assert (drop.root / "old/deployed").is_dir()
    assert drop.aside("deployed") == ["libx.so.1.2"]


@pytest.fixture
def in_memory(compiler: Compiler) -> Iterator[Drop]:
    """A scene where syncing costs nothing."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no file system in memory at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        yield Drop(compiler, Path(work))


@pytest.mark.scenario(
    "drop directory", ("a thousand files at once",), live="each ends, deployed or refused"
)
def test_a_burst_of_a_thousand_files_is_all_there_in_the_end(in_memory: Drop) -> None:
    drop = in_memory
    with Running(drop, drop.toml("[drop.limits]\nkeep_files = 2000\n")) as watcher:
        for number in range(1000):
            (drop.box / f"{number:04}.so").write_bytes(b"junk")
        drop.put("libx.so.1.2")
        watcher.until("deployed", "libx.so.1.2")
        while sum(kind == "rejected" for kind in watcher.kinds()) < 1000:
            watcher.until("rejected")
        assert watcher.end() == 0
    names = {e.deployment.drops[0].name for e in drop.ledger()}
    assert (len(names), len(drop.ledger()), drop.lying()) == (1001, 1001, [])


def test_sighup_takes_a_good_configuration_and_leaves_a_bad_one(drop: Drop) -> None:
    with Running(drop) as watcher:
        watcher.file.write_text(drop.toml("polcy = 'live'\n"))
        watcher.process.send_signal(signal.SIGHUP)
        assert "drop[0].polcy: no such key" in watcher.until("refused")["text"]
        drop.put("libx.so.1.2")
        watcher.until("deployed", "libx.so.1.2")
        watcher.file.write_text(drop.toml("names = ['liby*']\n"))
        watcher.process.send_signal(signal.SIGHUP)
        watcher.until("reloaded")
        drop.put("libx.so.1.3", 3)
        assert "liby*" in watcher.until("rejected", "libx.so.1.3")["text"]
        assert watcher.end() == 0


def test_a_configuration_with_an_untrusted_directory_is_refused_and_the_old_stays(
    drop: Drop,
) -> None:
    other = drop.root / "other"
    other.mkdir()
    other.chmod(0o777)
    with Running(drop) as watcher:
        more = f'[[drop]]\ndirectory = "{other}"\nto = "{drop.lib}"\n'
        watcher.file.write_text(drop.toml(more))
        watcher.process.send_signal(signal.SIGHUP)
        assert "everybody can write" in watcher.until("refused")["text"]
        drop.put("libx.so.1.2")
        watcher.until("deployed", "libx.so.1.2")


def test_a_service_manager_hears_ready_reloading_watchdog_and_stopping(
    drop: Drop, tmp_path: Path
) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(60)

    def heard(wanted: str) -> str:
        while wanted not in (said := manager.recv(4096).decode()):
            pass
        return said

    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with manager, Running(drop, **environment) as watcher:
        assert f"STATUS=watching {drop.box}" in heard("READY=1")
        heard("WATCHDOG=1")
        heard("WATCHDOG=1")
        watcher.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in heard("RELOADING=1")
        heard("READY=1")
        watcher.process.send_signal(signal.SIGTERM)
        heard("STOPPING=1")
        assert watcher.process.wait(60) == 0


def test_an_abstract_socket_is_told_too_and_none_is_no_error() -> None:
    name = f"@libswap-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:])
        assert service_manager.notify("READY=1", environment={"NOTIFY_SOCKET": name})
        assert manager.recv(99) == b"READY=1"
    assert not service_manager.notify("READY=1", environment={})
    assert not service_manager.notify("READY=1", environment={"NOTIFY_SOCKET": "/nonexistent"})


def test_the_journal_gets_fields_and_no_newline_forges_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        forged = "a\nPRIORITY=0"
        service_manager.journal({"MESSAGE": "m", "FILES": forged}, str(tmp_path / "journal"))
        said = journal.recv(4096)
    size = len(forged).to_bytes(8, "little")
    assert said == b"MESSAGE=m\nFILES\n" + size + forged.encode() + b"\n"


def test_the_watchdog_counts_only_where_it_is_ours() -> None:
    seconds = service_manager.watchdog_seconds
    assert seconds({"WATCHDOG_USEC": "3000000"}) == 3.0
    assert seconds({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}) is None
    assert seconds({"WATCHDOG_USEC": "nonsense"}) is None
    assert seconds({}) is None


def test_sigterm_lets_the_running_deployment_come_to_its_end(drop: Drop) -> None:
    """Told to end while the command of the gate runs, which ends only when we let it."""
    fifo = drop.root / "gate"
    os.mkfifo(fifo)
    more = f'[drop.health]\ncommand = ["/bin/sh", "-c", "cat {fifo}"]\n'
    with Running(drop, drop.toml(more)) as watcher:
        drop.put("libx.so.1.2")
        watcher.until("gate", "libx.so.1.2")
        gate = fifo.open("w")
        watcher.process.send_signal(signal.SIGTERM)
        gate.close()
        watcher.until("deployed", "libx.so.1.2")
        watcher.until("stopped")
        assert watcher.process.wait(60) == 0
    assert (drop.runs(), drop.aside("deployed")) == (2, ["libx.so.1.2"])


def test_a_complaint_of_watchdog_makes_it_look_everywhere(drop: Drop) -> None:
    """As when the kernel's queue overflows: watchdog logs a warning and the events are gone."""
    bell = Bell()
    events = Events([str(drop.box)], bell)
    events.start()
    try:
        assert events.hints.take() == {str(drop.box): None}
        logging.getLogger("watchdog.observers.inotify_c").warning("the queue overflowed")
        bell.wait(60.0)
        assert events.hints.take() == {str(drop.box): None}
    finally:
        events.stop()
        bell.close()


def test_hints_are_bounded_and_more_of_them_mean_everything() -> None:
    bell = Bell()
    hints = Hints(bell)
    for number in range(5000):
        hints.add("/d", str(number), Hint.TOUCHED)
    assert hints.take() == {"/d": None}
    hints.add("/d", "a", Hint.FINISHED)
    hints.add("/d", "a", Hint.TOUCHED)
    assert hints.take() == {"/d": {"a": Hint.FINISHED}}
    bell.close()


def test_a_file_system_without_events_is_polled(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystems, "is_remote", lambda _: True)
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.05)
    bell = Bell()
    events = Events([str(drop.box)], bell)
    events.start()
    try:
        events.hints.take()
        (drop.box / "a.so").write_bytes(b"junk")
        found: dict[str, object] = {}
        while "a.so" not in found:
            bell.wait(60.0)
            found = dict(events.hints.take().get(str(drop.box)) or {})
    finally:
        events.stop()
        bell.close()


def test_directories_that_somebody_removes_are_made_anew(drop: Drop) -> None:
    with Running(drop) as watcher:
        drop.put("junk.so", b"junk")
        watcher.until("rejected", "junk.so")
        shutil.rmtree(drop.box / "deployed")
        shutil.rmtree(drop.box / "rejected")
        drop.put("libx.so.1.3", 3)
        watcher.until("deployed", "libx.so.1.3")
    assert drop.aside("deployed") == ["libx.so.1.3"]


def test_a_listener_that_goes_away_stops_the_watcher_and_not_the_deployment(drop: Drop) -> None:
    def leaves(_: object) -> None:
        raise ReaderGone

    drop.put("libx.so.1.2")
    with pytest.raises(Stopped):
        entry.once(drop.configuration, drop.settings, leaves)
    assert (drop.runs(), drop.aside("deployed")) == (2, ["libx.so.1.2"])


def test_a_deployment_whose_directory_is_gone_comes_to_its_end_all_the_same(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    drop.change(health=Health(command=("/bin/sh", "-c", "kill -9 $PPID")))
    child = os.fork()
    if child == 0:
        drop.once()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    other = Drop(drop.compiler, drop.root / "other")
    shutil.rmtree(drop.box)
    (ended,) = entry.once(other.configuration, drop.settings, drop.happened.append).ended
    assert (ended.outcome, drop.runs()) == (Outcome.DEPLOYED, 2)


def test_figures_are_written_for_prometheus(drop: Drop) -> None:
    file = drop.root / "metrics.prom"
    more = f'[metrics]\ntextfile = "{file}"\n'
    with Running(drop, drop.toml(more)) as watcher:
        drop.put("libx.so.1.2")
        watcher.until("deployed")
        drop.put("junk.so", b"junk")
        watcher.until("rejected")
        watcher.end()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert found["libswap_watch_deployments_total", "deployed"] == 1
    assert found["libswap_watch_deployments_total", "failed"] == 0
    assert found["libswap_watch_waiting_files", str(drop.box)] == 0
    assert found["libswap_watch_stopped", str(drop.box)] == 0
    assert found["libswap_watch_alive_timestamp_seconds",] > 1e9


def test_a_terminal_shows_what_happens(drop: Drop) -> None:
    drop.put("libx.so.1.2")
    drop.put("evil\x1b[2J.so", b"junk")
    words = ["watch", "--config", str(drop.root / "watch.toml"), "--state-dir"]
    (drop.root / "watch.toml").write_text(
        drop.toml('[drop.health]\ncommand = ["/bin/sh", "-c", "kill -TERM $PPID"]\n')
    )
    shown = on_terminal(*words, str(drop.settings.state_dir), columns=100)
    assert shown.code == 0
    assert "libx.so.1.2" in shown.out
    assert "\x1b[2J" not in shown.out
