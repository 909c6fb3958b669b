"""Skips with their reasons, and the compiler."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from libswap.linux import libc
from libswap.live.alias import named_back
from libswap.live.draining.outlook import redirects_by_name_of
from libswap.live.outlook import (
    data_of_old_code,
    entries_of,
    pairing_by_name_of,
    pairing_of,
    redirects_of,
)
from libswap.operations.affected import abi_breaks
from libswap.operations.survival import survival_of_objects
from support.compiler import Compiler, has
from support.site import Site

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    if not has("cc"):
        pytest.skip("no C compiler (cc)")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (shared / "compiled").mkdir(exist_ok=True)
    return Compiler(shared / "compiled")


def _refusals() -> dict[str, str]:
    """The markers whose ground is missing here, each with the reason."""
    missing = {}
    if os.geteuid() != 0:
        missing["root"] = "needs uid 0"
        missing["namespaces"] = "needs uid 0 to make mount and PID namespaces"
    if not has("cc"):
        missing["compiler"] = "no C compiler (cc)"
    if not _may_trace():
        missing["ptrace"] = "ptrace is refused here, even for a child"
    return missing


def _may_trace() -> bool:
    """Whether a child of ours may be seized (Yama, seccomp or a container can forbid it)."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(ready, 1)
        os._exit(0)
    os.close(ready)
    seized = libc.ptrace(0x4206, child, None, None) == 0  # PTRACE_SEIZE, ptrace(2)
    os.close(tell)
    os.waitpid(child, 0)
    return seized


def pytest_configure() -> None:
    """What our own starter left us is not left to the programs that tests start.

    Signals that it ignores (nohup, a shell's `&`) would be ignored by them, and without bytecode,
    which an installed libswap has, each would take most of its time to compile it again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only those are wanted that run alone, the others need not be read."""
    if config.option.markexpr != "alone" or collection_path.suffix != ".py":
        return None
    return None if "mark.alone" in collection_path.read_text() else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    missing = _refusals()
    for item in items:
        for marker in item.iter_markers():
            if marker.name in missing:
                item.add_marker(pytest.mark.skip(reason=missing[marker.name]))


def pytest_collection_finish() -> None:
    """Tests stay to the end: no collection of garbage has to look through all of them again.

    There is one after each test that leaves libraries remembered, and in many a child that is
    killed at a step, which would have to copy every page of them for it (gc.freeze).
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are processors: a test often waits, for a disk, a server or a moment."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from support.schedule import OneByOne  # noqa: PLC0415  there may be no xdist

    return OneByOne(config, log)


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open() -> Iterator[None]:
    """What a test opens in this process is closed at its end, a few remembered libraries apart."""
    before = set(DESCRIPTORS.iterdir())
    yield
    if _opened_since(before):
        for remembered in (
            pairing_of, pairing_by_name_of, entries_of, redirects_of, redirects_by_name_of,
            abi_breaks, data_of_old_code, named_back, survival_of_objects,
        ):  # fmt: skip
            remembered.cache_clear()
        gc.collect()
        assert not _opened_since(before)


def _opened_since(before: set[Path]) -> dict[Path, Path]:
    found = {}
    for descriptor in set(DESCRIPTORS.iterdir()) - before:
        with suppress(OSError):  # that of the listing itself
            found[descriptor] = descriptor.readlink()
    return found


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
