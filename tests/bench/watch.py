"""The watcher: from the end of writing to the installed file, what it costs at rest, its memory."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.compiler import Compiler
from support.site import library
from tests.bench.section import Row, Section

SETTLE = 0.05
ROUNDS = 40
IDLE_SECONDS = 10.0
SHORTEST = 0.002
"""Settle time of the many, whose time is not what is looked at."""
MANY = int(os.environ.get("LIBSWAP_BENCH_DEPLOYMENTS", "400"))
"""10000 is the whole of it, and takes minutes."""


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        compiler = Compiler(root)
        builds = [library(compiler, version).read_bytes() for version in (1, 2)]
        return _latency(root / "latency", builds), _memory(root / "memory", builds)


@dataclass
class Watched:
    """A watcher as a process, and its directories."""

    root: Path
    builds: list[bytes]
    process: subprocess.Popen[str]
    settle: float
    count: int = 0

    def deploy(self) -> float:
        """Drop the other build; returns the seconds until it was in place, less the settle time."""
        self.count += 1
        hidden = self.root / "drop/.libx.so.1"
        hidden.write_bytes(self.builds[self.count % 2])
        begun = time.time()
        hidden.rename(self.root / "drop/libx.so.1")
        return self.until("deployed")["time"] - begun - self.settle

    def until(self, kind: str) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            assert said["kind"] not in ("rejected", "failed", "postponed"), line
            if said["kind"] == kind:
                return said
        raise AssertionError(kind)

    def status(self, field: str) -> list[int]:
        """A field of proc_pid_status(5), of each thread."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            found += [int(line.split()[1]) for line in lines if line.startswith(field + ":")]
        return found


@contextmanager
def watched(root: Path, builds: list[bytes], settle: float) -> Iterator[Watched]:
    for name in ("drop", "lib"):
        (root / name).mkdir(parents=True)
    (root / "lib/libx.so.1").write_bytes(builds[0])
    (root / "watch.toml").write_text(
        f'[[drop]]\ndirectory = "{root}/drop"\nto = "{root}/lib"\nsettle = {settle}\n'
        "[drop.limits]\nkeep_files = 10\n"
    )
    words = ["watch", "--config", f"{root}/watch.toml", "--state-dir", f"{root}/state", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "libswap", *words], stdout=subprocess.PIPE, text=True
    )
    with process:
        made = Watched(root, builds, process, settle)
        made.until("started")
        yield made
        process.send_signal(signal.SIGTERM)
        made.until("stopped")


def _latency(root: Path, builds: list[bytes]) -> Section:
    with watched(root, builds, SETTLE) as one:
        one.deploy()
        seconds = tuple(one.deploy() for _ in range(ROUNDS))
        rest = _at_rest(one)
    return Section(
        "A library dropped while nothing else goes on",
        "From the rename into the directory to the library in its place, checked and recorded, the"
        f" drop set aside; without the settle time, which was {SETTLE:g} s. {rest}",
        (Row("dropped to deployed", seconds),),
    )


def _at_rest(one: Watched) -> str:
    before, used, begun = _switches(one), _milliseconds(one.process.pid), time.monotonic()
    time.sleep(IDLE_SECONDS)  # to be at rest is what is measured
    switches, seconds = _switches(one) - before, time.monotonic() - begun
    used = _milliseconds(one.process.pid) - used
    return (
        f"At rest for {seconds:.0f} s afterwards its threads were switched to {switches} times and"
        f" used {used:.0f} ms of processor time."
    )


def _switches(one: Watched) -> int:
    fields = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return sum(sum(one.status(field)) for field in fields)


def _milliseconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _memory(root: Path, builds: list[bytes]) -> Section:
    rows: list[Row] = []
    sizes: list[str] = []
    costs: list[str] = []
    with watched(root, builds, SHORTEST) as one:
        for tenth in range(10):
            used = _milliseconds(one.process.pid)
            seconds = tuple(one.deploy() for _ in range(MANY // 10))
            costs.append(f"{(_milliseconds(one.process.pid) - used) / len(seconds):.0f}")
            sizes.append(f"{max(one.status('VmRSS')) / 1024:.1f}")
            rows.append(Row(f"deployments up to {(tenth + 1) * MANY // 10:,}", seconds))
        kept = sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) / 1e6
    return Section(
        f"{MANY:,} deployments by one watcher",
        f"Resident memory after each tenth, in MiB: {', '.join(sizes)}. Processor time of one"
        f" deployment in each tenth, in ms: {', '.join(costs)}. On the disk at the end: {kept:.0f}"
        f" MB, history, kept files and what was dropped. The settle time was {SHORTEST:g} s.",
        tuple(rows[:: len(rows) - 1]),
    )
