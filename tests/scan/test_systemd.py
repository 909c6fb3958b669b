"""Services are told by a real systemd, and the restart line that is given does what it says."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.compiler import Compiler
from support.machine import Machine, machine
from support.site import library

pytestmark = [pytest.mark.root, pytest.mark.namespaces, pytest.mark.compiler]

_SERVICE = """
import ctypes, os, signal, socket, sys
ctypes.CDLL("/mnt/lib/libx.so.1")
if "NOTIFY_SOCKET" in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
else:
    print("ready", flush=True)
signal.pause()
"""
_UNIT = f"""
[Service]
Type=notify
ExecStart={sys.executable} /mnt/service.py
"""


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as it:
        (it.share / "service.py").write_text(_SERVICE)
        it.unit("shop.service", _UNIT)
        it.unit("shop@.service", _UNIT)
        yield it


@pytest.fixture
def shop(booted: Machine, compiler: Compiler) -> Machine:
    """The machine with the first version in place and the second beside it."""
    lib = booted.share / "lib"
    lib.mkdir(exist_ok=True)
    lib.joinpath("libx.so.1").unlink(missing_ok=True)
    for number, name in ((1, "libx.so.1"), (2, "new.so")):
        lib.joinpath(name).write_bytes(library(compiler, number).read_bytes())
    return booted


def _stale(it: Machine) -> list[dict[str, Any]]:
    done = it.libswap("scan", "--json", check=False)
    return [group["service"] for group in json.loads(done.stdout)["result"]["groups"]]


@pytest.mark.parametrize("unit", ["shop.service", r"shop@a\x20b\x27c.service"])
def test_the_restart_line_of_a_stale_unit_makes_it_new(shop: Machine, unit: str) -> None:
    shop.run("systemctl", "start", unit)
    told = shop.libswap("install", "--yes", "/mnt/lib/new.so", "/mnt/lib/libx.so.1").stderr
    before = shop.main_pid(unit)

    [service] = _stale(shop)
    assert (service["kind"], service["name"]) == ("systemd unit", unit)
    assert service["restart"] in told, "who installs is told the same line"
    shop.run("sh", "-c", service["restart"])

    assert shop.main_pid(unit) != before
    assert _stale(shop) == []
    shop.run("systemctl", "stop", unit)


def test_a_scope_has_no_restart_line(shop: Machine) -> None:
    start = f"systemd-run -q --scope --unit=lone {sys.executable} /mnt/service.py"
    shop.run("sh", "-c", f"mkfifo /mnt/said; {start} >/mnt/said 2>&1 & head -n1 /mnt/said")
    shop.libswap("install", "--yes", "/mnt/lib/new.so", "/mnt/lib/libx.so.1")
    [service] = _stale(shop)
    assert (service["name"], service["restart"]) == ("lone.scope", "")
    assert "restarted by the program that made it" in service["advice"]
    shop.run("systemctl", "stop", "lone.scope")


@pytest.mark.ptrace
def test_a_unit_that_is_moved_live_is_stale_no_more_and_systemd_notices_nothing(
    shop: Machine,
) -> None:
    shop.run("systemctl", "start", "shop.service")
    before = shop.main_pid("shop.service")
    shop.libswap("install", "--yes", "--live", "/mnt/lib/new.so", "/mnt/lib/libx.so.1")
    assert shop.main_pid("shop.service") == before
    asked = "--property=ActiveState,NRestarts"
    state = shop.run("systemctl", "show", asked, "shop.service").stdout.split()
    assert set(state) == {"ActiveState=active", "NRestarts=0"}
    assert _stale(shop) == []
    shop.run("systemctl", "stop", "shop.service")
