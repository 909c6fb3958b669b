"""Upgrades of many machines: what each costs, and whether that grows with their number."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.compiler import Compiler
from support.hosts import Fleet, fleet
from support.overlay import LIBRARIES
from support.site import library
from tests.bench.section import Row, Section

COUNTS: Final = tuple(map(int, os.environ.get("LIBSWAP_BENCH_MACHINES", "4,16,64").split(",")))
"""How many machines; each is an sshd in namespaces of its own, on the same processors."""
PLACE: Final = LIBRARIES / "libx-of-libswap-tests.so.1"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took.

    Attributes:
        seconds: by the clock.
        processor: seconds that the controller's processes computed.
        resident: MiB of the largest of them.
    """

    seconds: float
    processor: float
    resident: float


def run() -> tuple[Section, ...]:
    rows: list[Row] = []
    told: list[str] = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as work:
            look, upgrade = _upgraded(Path(work), count)
        rows.append(Row(f"look at {count} machines, for each", (look.seconds / count,)))
        rows.append(Row(f"upgrade {count} machines, for each", (upgrade.seconds / count,)))
        told.append(
            f"{count} machines: {look.processor / count:.2f} s and"
            f" {upgrade.processor / count:.2f} s, {look.resident:.0f} and"
            f" {upgrade.resident:.0f} MiB"
        )
    return (
        Section(
            "Many machines, on the same processors as their controller",
            "`libswap fleet install --dry-run`, then `libswap fleet install`, which looks again and"
            " then upgrades in batches of 1, 10 %, 50 % and the rest; five machines at once, as is"
            " Ansible's default. Each machine is an sshd in namespaces of its own. Processor time"
            " of the controller for each machine, of the look and of the upgrade, and memory of"
            f" its largest process: {'; '.join(told)}.",
            tuple(rows),
        ),
    )


def _upgraded(work: Path, count: int) -> tuple[Cost, Cost]:
    compiler = Compiler(work)
    old, new = library(compiler, 1), library(compiler, 2)
    (work / "fleet").mkdir()
    with fleet(work / "fleet", count) as machines:
        for host in machines.hosts:
            (host.share / "old.so").write_bytes(old.read_bytes())
            host.run("cp", "/mnt/old.so", PLACE)
        return _cost(machines, work, new, "--dry-run"), _cost(machines, work, new)


def _cost(machines: Fleet, work: Path, new: Path, *words: str) -> Cost:
    command = machines.command(
        sys.executable, "-m", "libswap", "fleet", "install", new, PLACE, "-i", machines.inventory,
        "--yes", "--json", f"--state-dir={work / 'state'}", *words,
    )  # fmt: skip
    with (work / "out").open("w+") as out:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        assert process.returncode == 0, json.load(out)
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
