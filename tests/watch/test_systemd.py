"""The unit as it is shipped, under a real systemd."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.compiler import Compiler, has
from support.machine import Machine, machine
from support.site import library

pytestmark = [pytest.mark.root, pytest.mark.namespaces, pytest.mark.compiler, pytest.mark.ptrace]

_PACKAGING: Final = Path(__file__).parents[2] / "packaging" / "systemd"
_UNIT: Final = "libswap-watch.service"
_HERE: Final = f"""
[Service]
ExecStart=
ExecStart={sys.executable} -m libswap watch --config /etc/libswap/watch.toml
"""
_SHOP: Final = """
import ctypes, os, signal, socket
ctypes.CDLL("/usr/local/lib/libx.so.1")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
    notices.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


class Watched:
    """A machine on which the unit runs."""

    def __init__(self, on: Machine) -> None:
        self.on = on
        last = on.run("journalctl", "--lines=1", "--output=json", "--no-pager").stdout
        self._journal = subprocess.Popen(
            ["nsenter", f"--target={on.pid}", "--all", "--wdns=/", "journalctl", "--output=json",
             "--follow", "--no-pager", f"--after-cursor={json.loads(last)['__CURSOR']}"],
            stdout=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip

    def close(self) -> None:
        os.killpg(self._journal.pid, signal.SIGKILL)  # nsenter, and what it has forked
        self._journal.communicate()

    def until(self, event: str) -> dict[str, str]:
        """The next entry of the journal that tells of something."""
        assert self._journal.stdout is not None
        for line in self._journal.stdout:
            found: dict[str, str] = json.loads(line)
            kind = found.get("LIBSWAP_EVENT")
            assert kind != "rejected" or event == kind, found
            if kind == event:
                return found
        pytest.fail("the journal has ended")

    def configure(self, policy: str) -> None:
        text = (
            '[[drop]]\ndirectory = "/srv/libswap/drop"\nto = "/usr/local/lib"\n'
            f'policy = "{policy}"\nsettle = 0.1\n'
        )
        (self.on.share / "watch.toml").write_text(text)
        self.on.run("install", "-Dm644", "/mnt/watch.toml", "/etc/libswap/watch.toml")

    def state(self) -> list[str]:
        asked = "--property=ActiveState,NRestarts,StatusText"
        return sorted(self.on.run("systemctl", "show", asked, _UNIT).stdout.split("\n"))


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as it:
        (it.share / "shop.py").write_text(_SHOP)
        it.unit(
            "shop.service", f"[Service]\nType=notify\nExecStart={sys.executable} /mnt/shop.py\n"
        )
        place = it.share / "here.conf"
        place.write_text(_HERE)
        dropins = f"/etc/systemd/system/{_UNIT}.d/"
        it.run("install", "-Dm644", "-t", dropins, "/mnt/here.conf",
               *sorted((_PACKAGING / f"{_UNIT}.d").glob("*.conf")))  # fmt: skip
        it.unit(_UNIT, (_PACKAGING / _UNIT).read_text())
        yield it


@pytest.fixture
def watched(booted: Machine, compiler: Compiler) -> Iterator[Watched]:
    for number in (1, 2, 3):
        (booted.share / f"{number}.so").write_bytes(library(compiler, number).read_bytes())
    booted.run(
        "sh", "-c", "rm -rf /srv/libswap/drop /var/lib/libswap /usr/local/lib/libx.so.1;"
        " install -d -m755 /srv/libswap/drop; cp /mnt/1.so /usr/local/lib/libx.so.1",
    )  # fmt: skip
    it = Watched(booted)
    try:
        yield it
    finally:
        booted.run("systemctl", "stop", _UNIT, "shop.service")
        it.close()


def _drop(it: Watched, number: int) -> None:
    it.on.run("sh", "-c", f"cp /mnt/{number}.so /srv/libswap/drop/libx.so.1")


@pytest.mark.parametrize("policy", ["restart", "live"])
def test_a_dropped_library_reaches_the_service_that_uses_it(watched: Watched, policy: str) -> None:
    watched.configure(policy)
    watched.on.run("systemctl", "start", _UNIT, "shop.service")
    before = watched.on.main_pid("shop.service")
    _drop(watched, 2)
    watched.until("deployed")
    assert (watched.on.main_pid("shop.service") == before) == (policy == "live")
    scan = json.loads(watched.on.libswap("scan", "--json").stdout)["result"]
    assert scan["groups"] == []
    assert len(scan["moved"]) == (policy == "live")


def test_it_is_restarted_when_it_is_killed_and_goes_on(watched: Watched) -> None:
    watched.configure("none")
    watched.on.run("systemctl", "start", _UNIT)
    watched.on.run("systemctl", "kill", "--signal=KILL", _UNIT)
    _drop(watched, 2)
    watched.until("deployed")
    _drop(watched, 3)
    watched.until("deployed")
    history = json.loads(watched.on.libswap("history", "--json").stdout)["result"]
    assert len(history["operations"]) == 2


def test_a_bad_configuration_is_not_taken_and_a_good_one_is(watched: Watched) -> None:
    watched.configure("none")
    watched.on.run("systemctl", "start", _UNIT)
    watched.configure("nonsense")
    watched.on.run("systemctl", "reload", _UNIT)
    _drop(watched, 2)
    watched.until("deployed")
    watched.configure("none")
    watched.on.run("systemctl", "reload", _UNIT)
    assert "ActiveState=active" in watched.state()


def test_a_package_that_drops_a_library_is_taken_once(watched: Watched) -> None:
    if not has("dpkg-deb"):
        pytest.skip("no dpkg-deb")
    watched.configure("none")
    watched.on.run("systemctl", "start", _UNIT)
    watched.on.run("sh", "-ec", _PACKAGE)
    watched.until("deployed")
    watched.on.run("systemctl", "stop", _UNIT)
    history = json.loads(watched.on.libswap("history", "--json").stdout)["result"]
    assert len(history["operations"]) == 1
    assert not (watched.on.run("ls", "/srv/libswap/drop/rejected", check=False).stdout)


_PACKAGE: Final = """
rm -rf /mnt/package
mkdir -p /mnt/package/DEBIAN /mnt/package/srv/libswap/drop
cp /mnt/2.so /mnt/package/srv/libswap/drop/libx.so.1
printf 'Package: dropped\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' \
    >/mnt/package/DEBIAN/control
dpkg-deb --root-owner-group --build /mnt/package /mnt/dropped.deb
dpkg --force-unsafe-io -i /mnt/dropped.deb
"""
