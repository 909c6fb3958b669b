"""Upgrades of real hosts: sshd in namespaces, each with libraries of its own below /usr/lib."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.compiler import Compiler
from support.hosts import Fleet, Host, fleet
from support.overlay import LIBRARIES
from support.site import library

pytest.importorskip("ansible_runner")
pytestmark = [pytest.mark.root, pytest.mark.namespaces, pytest.mark.compiler, pytest.mark.slow]

INTERRUPTIONS: Final = (
    [signal.SIGINT, signal.SIGKILL] if os.environ.get("LIBSWAP_EVERY_STEP") else [signal.SIGKILL]
)
PLACE: Final = LIBRARIES / "libx-of-libswap-tests.so.1"
TWO: Final = "--limit=host1,host2"
"""Ansible takes its time with each machine."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), 4) as four:
        yield four


class Controller:
    """Runs `libswap fleet` with a state directory of its own."""

    def __init__(self, on: Fleet, state: Path, new: Path) -> None:
        self.on, self.new = on, new
        self._state = state

    def begin(self, *words: str) -> subprocess.Popen[str]:
        command = self.on.command(sys.executable, "-m", "libswap", "fleet", *words)
        return subprocess.Popen(
            [*command, f"--state-dir={self._state}"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit code, and the document."""
        process = self.begin(*words, "--json")
        out, err = process.communicate()
        assert out, err
        return process.returncode, json.loads(out)

    def install(self, *words: str) -> tuple[int, dict[str, Any]]:
        return self.run(*self.words(*words))

    def words(self, *words: str) -> tuple[str, ...]:
        inventory = str(self.on.inventory)
        return ("install", str(self.new), str(PLACE), "-i", inventory, "--yes", *words)

    def versions(self) -> list[int]:
        """Which library each host has."""
        return [_version(host) for host in self.on.hosts]


@pytest.fixture
def controller(hosts: Fleet, compiler: Compiler, tmp_path: Path) -> Controller:
    for host in hosts.hosts:
        (host.share / "old.so").write_bytes(library(compiler, 1).read_bytes())
        host.run("sh", "-c", f"rm -f /mnt/sick {PLACE}; cp /mnt/old.so {PLACE}")
    return Controller(hosts, tmp_path / "state", library(compiler, 2))


def _version(host: Host) -> int:
    call = f"import ctypes; print(ctypes.CDLL({str(PLACE)!r}).version())"
    return int(host.run(Path(sys.executable).resolve(), "-I", "-c", call).stdout)


def _states(document: dict[str, Any]) -> dict[str, str]:
    (rollout,) = document["result"]["rollouts"]
    return {machine["name"]: machine["state"] for machine in rollout["machines"]}


def test_all_are_upgraded_the_canary_first_and_taken_back(controller: Controller) -> None:
    three = "--limit=host1,host2,host3"
    code, planned = controller.install(three, "--dry-run")
    assert (code, controller.versions()) == (0, [1, 1, 1, 1])
    assert [m["unchanged"] for m in planned["result"]["machines"]] == [False] * 3

    code, done = controller.install(three, "--canary=host3", "--batches=1,100%")
    assert (code, controller.versions()) == (0, [2, 2, 2, 1])
    assert list(_states(done)) == ["host3", "host1", "host2"]
    assert set(_states(done).values()) == {"installed"}
    assert not PLACE.exists(), "this machine's own libraries are as they were"

    page = controller.new.with_name("page.html")
    name = done["result"]["rollouts"][0]["id"]
    code, back = controller.run("rollback", name, "--yes", f"--html={page}")
    assert "Taken back" in page.read_text()
    assert (code, controller.versions()) == (0, [1, 1, 1, 1])
    assert set(_states(back).values()) == {"taken back"}


def test_a_host_that_is_not_well_afterwards_takes_all_back(controller: Controller) -> None:
    (controller.on.hosts[2].share / "sick").touch()
    code, done = controller.install(
        "--batches=1,2,100%", "--health=test ! -e /mnt/sick", "--retries=0"
    )
    assert (code, controller.versions()) == (48, [1, 1, 1, 1])
    assert _states(done) == {
        "host1": "taken back",
        "host2": "taken back",
        "host3": "failed and taken back",
        "host4": "pending",
    }


def test_a_batch_that_is_not_well_takes_all_back(controller: Controller) -> None:
    code, done = controller.install(TWO, "--batches=1,1", "--batch-health=false")
    assert (code, controller.versions()) == (48, [1, 1, 1, 1])
    assert _states(done) == {"host1": "taken back", "host2": "pending"}


def test_nothing_begins_while_a_host_is_down_unless_it_is_left_out(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_SSH_ARGS", "-o ControlMaster=no -o ConnectTimeout=2")
    down = controller.on.hosts[1]
    controller.on.cut(down)
    try:
        code, refused = controller.install(TWO)
        assert (code, refused["error"]["class"]) == (47, "NotReady")
        assert [name for name, _ in refused["error"]["fields"]["problems"]] == ["host2"]
        assert controller.versions() == [1, 1, 1, 1]
        code, _ = controller.install(TWO, "--skip-unready", "--batches=100%")
    finally:
        controller.on.join(down)
    assert (code, controller.versions()) == (0, [2, 1, 1, 1])


@pytest.mark.parametrize("number", INTERRUPTIONS)
def test_an_interrupted_upgrade_goes_on(controller: Controller, number: signal.Signals) -> None:
    process = controller.begin(*controller.words(TWO, "--batches=1,100%"))
    assert process.stderr is not None
    assert any("host1: installed" in line for line in process.stderr)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (130 if number is signal.SIGINT else -signal.SIGKILL)

    (name,) = [r["id"] for r in controller.run("status")[1]["result"]["rollouts"]]
    code, done = controller.run("resume", name)
    assert (code, controller.versions()) == (0, [2, 2, 1, 1])
    assert set(_states(done).values()) == {"installed"}
