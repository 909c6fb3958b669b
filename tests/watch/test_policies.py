"""What becomes of running processes, the health gate, and how all of it is taken back."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from libswap.errors.watch import NotAllDeployed
from libswap.operations.deployments import Outcome
from libswap.operations.status import status
from libswap.watch import entry, units
from libswap.watch.rule import Accept, Configuration, Health, Policy, Survival
from libswap.watch.units import Affected
from support.compiler import FIXTURES
from support.dropping import Drop, Running
from support.holders import hold, holder
from support.swapping import Stage

pytestmark = pytest.mark.compiler


@pytest.fixture
def stage(drop: Drop) -> Stage:
    """A library whose version running programs can be asked."""
    stage = Stage(drop.compiler, drop.lib / "libversion.so")
    stage.install(stage.build("live/version.c", version=1))
    return stage


def put(drop: Drop, stage: Stage, version: int) -> None:
    drop.put("libversion.so", stage.build("live/version.c", version=version).read_bytes())


@pytest.mark.ptrace
def test_live_moves_the_processes_that_run_the_old_library(drop: Drop, stage: Stage) -> None:
    drop.change(policy=Policy.LIVE, accept=Accept.WARNINGS)
    with stage.running(stage.program("live/driver.c")) as target:
        put(drop, stage, 2)
        assert drop.one().outcome is Outcome.DEPLOYED
        assert target.ask("version") == "2"


@pytest.mark.ptrace
@pytest.mark.parametrize(("survival", "version"), [(Survival.LIKELY, "1"), (Survival.UNKNOWN, "2")])
def test_who_is_moved_where_it_is_not_known_that_objects_survive(
    drop: Drop, stage: Stage, survival: Survival, version: str
) -> None:
    drop.change(policy=Policy.LIVE, accept=Accept.WARNINGS, survival=survival)
    compares = '#include "version.c"\nint is_local(int (**f)(int)) { return *f == local_add; }\n'
    new = stage.build(compares, f"-I{FIXTURES / 'live'}", version=2)
    with stage.running(stage.program("live/driver.c")) as target:
        drop.put("libversion.so", new.read_bytes())
        ended = drop.one()
        assert ended.outcome is Outcome.DEPLOYED
        assert target.ask("version") == version
        assert any("not known" in remark for remark in ended.remarks) == (version == "1")


@pytest.mark.ptrace
def test_a_gate_that_fails_moves_the_processes_back_and_the_file(drop: Drop, stage: Stage) -> None:
    drop.change(policy=Policy.LIVE, accept=Accept.WARNINGS, health=Health(command=("/bin/false",)))
    before = stage.place.read_bytes()
    with stage.running(stage.program("live/driver.c")) as target:
        put(drop, stage, 2)
        ended = drop.one()
        assert (ended.outcome, ended.remarks) == (Outcome.FAILED, ())
        assert target.ask("version") == "1"
        assert stage.place.read_bytes() == before
        (process,) = [p for p in status().processes if p.pid == target.pid]
        assert [e.what.split()[0] for e in process.events] == ["swap", "revert"]
    assert "the health gate failed: /bin/false" in drop.reason("libversion.so")
    assert f"rolled back as operation {ended.rollback}" in drop.reason("libversion.so")


@pytest.mark.ptrace
def test_none_leaves_running_processes_alone(drop: Drop, stage: Stage) -> None:
    drop.change(accept=Accept.WARNINGS)
    with stage.running(stage.program("live/driver.c")) as target:
        put(drop, stage, 2)
        assert drop.one().outcome is Outcome.DEPLOYED
        assert target.ask("version") == "1"


def test_a_process_that_ends_within_the_gate_takes_it_all_back(drop: Drop) -> None:
    more = "[drop.health]\nalive = 600\n"
    with hold(holder(drop.compiler), "dlopen", drop.lib / "libx.so.1.1") as held:
        with Running(drop, drop.toml(more)) as watcher:
            drop.put("libx.so.1.2")
            watcher.until("gate")
            assert drop.runs() == 2
            held.process.send_signal(signal.SIGSEGV)
            said = watcher.until("failed")
            assert f"process {held.pid} (holder) ended" in said["text"]
            assert drop.runs() == 1
        assert drop.operations() == ["install", "rollback"]


def test_a_process_that_does_not_count_may_end(drop: Drop) -> None:
    drop.change(health=Health(alive=600.0, processes=("nginx*",)))
    with hold(holder(drop.compiler), "dlopen", drop.lib / "libx.so.1.1"):
        drop.put("libx.so.1.2")
        assert drop.one().outcome is Outcome.DEPLOYED


def test_a_watcher_told_to_end_in_the_gate_leaves_it_to_the_next(drop: Drop) -> None:
    more = "[drop.health]\nalive = 600\n"
    with hold(holder(drop.compiler), "dlopen", drop.lib / "libx.so.1.1"):
        with Running(drop, drop.toml(more)) as watcher:
            drop.put("libx.so.1.2")
            watcher.until("gate")
            assert watcher.end() == 0
        assert (drop.runs(), drop.ledger()) == (2, [])
        drop.change(health=Health())
        (ended,) = drop.once().ended
    assert ended.outcome is Outcome.DEPLOYED
    assert drop.operations() == ["install"]


def test_the_command_of_the_gate_is_told_the_paths_and_may_not_take_for_ever(drop: Drop) -> None:
    wanted = f"{drop.lib}/libx.so.1.2\n{drop.lib}/libx.so.1"
    drop.change(health=Health(command=("/bin/sh", "-c", f'[ "$LIBSWAP_PATHS" = "{wanted}" ]')))
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.DEPLOYED
    drop.change(health=Health(command=("/usr/bin/tail", "-f", "/dev/null"), timeout=0.1))
    drop.put("libx.so.1.3", 3)
    assert "did not end within 0.1 seconds" in drop.one().reason
    assert drop.runs() == 2


class Systemctl:
    """A program in the place of systemctl that writes down what it is told."""

    def __init__(self, path: Path, status: int = 0) -> None:
        self.path, self.log = path, path.with_suffix(".log")
        self.path.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\nexit {status}\n')
        self.path.chmod(0o755)

    def told(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def once(self, drop: Drop) -> Outcome:
        configuration = Configuration((drop.rule,), systemctl=str(self.path))
        (ended,) = entry.once(configuration, drop.settings, drop.happened.append).ended
        return ended.outcome


@pytest.fixture
def two_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the users of the library were these units."""
    found = Affected(("a.service", "b.service"), ("cron (7) belongs to no service",))
    monkeypatch.setattr(units, "affected", lambda *_: found)


@pytest.mark.usefixtures("two_units")
def test_restart_restarts_the_units_concerned_in_one_command(drop: Drop) -> None:
    systemctl = Systemctl(drop.root / "systemctl")
    drop.change(policy=Policy.RESTART)
    drop.put("libx.so.1.2")
    assert systemctl.once(drop) is Outcome.DEPLOYED
    assert systemctl.told() == ["restart -- a.service b.service"]
    assert drop.ledger()[0].remarks == ("cron (7) belongs to no service",)


@pytest.mark.usefixtures("two_units")
def test_units_that_do_not_come_up_or_a_gate_that_fails_get_the_old_file_back(drop: Drop) -> None:
    failing, working = Systemctl(drop.root / "bad", 1), Systemctl(drop.root / "good")
    drop.change(policy=Policy.RESTART)
    drop.put("libx.so.1.2")
    assert failing.once(drop) is Outcome.FAILED
    assert failing.told() == ["restart -- a.service b.service"] * 2
    drop.change(health=Health(command=("/bin/false",)))
    drop.put("libx.so.1.3", 3)
    assert working.once(drop) is Outcome.FAILED
    assert working.told() == ["restart -- a.service b.service"] * 2
    assert (drop.runs(), drop.operations_done()) == (1, ["install", "rollback"] * 2)


def test_failures_one_after_the_other_stop_it_until_somebody_looked(drop: Drop) -> None:
    drop.change(
        health=Health(command=("/bin/false",)),
        limits=replace(drop.rule.limits, failures=2),
    )
    for version in (2, 3, 4):
        drop.put(f"libx.so.1.{version}", version)
    done = drop.once()
    assert ([e.outcome for e in done.ended], len(done.waiting)) == ([Outcome.FAILED] * 2, 1)
    assert any("it is stopped" in h.text for h in drop.happened)
    again = drop.once()
    assert (again.ended, again.stopped, again.exit_code) == ((), (str(drop.box),), 116)
    drop.change(health=Health())
    (ended,) = drop.once(clear=True).ended
    assert ended.outcome is Outcome.DEPLOYED


def test_a_rate_limit_leaves_the_rest_waiting(drop: Drop) -> None:
    drop.change(limits=replace(drop.rule.limits, per_hour=2))
    for version in (2, 3, 4):
        drop.put(f"libx.so.1.{version}", version)
    done = drop.once()
    assert (len(done.ended), len(done.waiting)) == (2, 1)
    again = drop.once()
    assert (again.ended, again.exit_code) == ((), 0)
    assert again.held == ((str(drop.box), "2 deployments within an hour"),)
    foreseen = entry.preview(drop.configuration, drop.settings)
    assert (foreseen.files, foreseen.waiting, foreseen.held) == ((), again.waiting, again.held)


def test_two_libswaps_at_once_wait_for_each_other_and_lose_nothing(drop: Drop) -> None:
    """The lock of the installations is held by somebody else while a drop is ready."""
    code = (
        "import sys; from pathlib import Path; from libswap.install.state import locked\n"
        "with locked(Path(sys.argv[1]), 0, 'test'): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(drop.settings.state_dir)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        drop.put("libx.so.1.2")
        done = drop.once()
        assert (done.ended, "holds the lock" in done.postponed) == ((), True)
        assert done.exit_code == NotAllDeployed.exit_code
        assert drop.runs() == 1
        other.communicate()
    (ended,) = drop.once().ended
    assert (ended.outcome, drop.runs()) == (Outcome.DEPLOYED, 2)
