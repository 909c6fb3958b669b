"""How long a target stands still: the largest gap that a spinning thread of it sees."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from libswap.linux.memory import ProcessMemory, Range
from libswap.live.calls import Call, Result
from libswap.live.quiescence import Forbidden
from libswap.live.transaction import commit
from libswap.live.writing import Prepared, Write
from support.compiler import Compiler
from support.target import RTLD_NOW, Target, borrowed, running
from tests.bench.section import Row, Section

_ROUNDS = 15
_ROUNDS_OF_GDB = 3
_WINDOW = 0.03
_LONG_WINDOW = 0.6  # 64 threads that spin on 2 processors have their turns so far apart
_ROUNDS_OF_LONG = 7
_SLOTS = 100


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as work:
        compiler = Compiler(Path(work))
        waiting = [
            _section(compiler, n - 1, 0, f"{n} threads, all but one waiting") for n in (1, 8, 64)
        ]
        return (*waiting, _section(compiler, 0, 63, "64 threads, all spinning"))


def _section(compiler: Compiler, waiting: int, spinning: int, title: str) -> Section:
    program = compiler.program("live/spinner.c", "-O2", "-rdynamic")
    library = str(compiler.library("live/addition.c"))
    with running(program, str(waiting), str(spinning)) as target:
        if os.geteuid() == 0 and not spinning:  # before whatever else runs on the machine
            os.setpriority(os.PRIO_PROCESS, target.pid, -20)
        acts = _acts(target, library, gdb=waiting < 8 and not spinning)
        rows = {name: [] for name in acts}
        window = _LONG_WINDOW if spinning else _WINDOW
        for turn in range(_ROUNDS_OF_LONG if spinning else _ROUNDS):
            for name, act in acts.items():
                if name.startswith("gdb") and turn >= _ROUNDS_OF_GDB:
                    continue  # it takes seconds to start
                rows[name].append(_gap(target, act, window))
    return Section(
        title,
        f"The largest gap within {window * 1000:.0f} ms that held the act, seen by the thread that"
        f" spins. A commit writes {_SLOTS} slots and one entry. Threads that wait in the kernel are"
        " stopped before those that run, and do not notice.",
        tuple(Row(name, tuple(gaps)) for name, gaps in rows.items()),
    )


def _acts(target: Target, library: str, *, gdb: bool) -> dict[str, Callable[[], None]]:
    path = library.encode()
    dlopen, dlclose = target.function("dlopen"), target.function("dlclose")
    program = [Call(dlopen, (path, RTLD_NOW)), Call(dlclose, (Result(0),), given=Result(0))]

    def load() -> None:
        with borrowed(target) as thread:
            thread.run(program, timeout=5)

    acts = {"nothing": lambda: None, "commit": lambda: _commit(target), "dlopen, dlclose": load}
    if shutil.which("gdb") and gdb:
        acts["gdb: attach, call, detach"] = lambda: _gdb(target, library)
    return acts


def _commit(target: Target) -> None:
    module = b"/spinner"
    table, entry = target.function("table", module), target.function("replaced", module)
    with ProcessMemory(target.pid) as memory:
        slots = [table + 256 * i for i in range(_SLOTS)]
        writes = [Write(at, memory.read(at, 8), at.to_bytes(8, "little")) for at in slots]
        old = memory.read(entry, 5)
        forbidden = Forbidden(Range(entry, entry + 16), "replaced")
        prepared = Prepared(((Write(entry, old, old),), tuple(writes)), (forbidden,))
        commit(target.identity, memory, prepared, wait=5)


def _gdb(target: Target, library: str) -> None:
    call = f'call (void*)dlopen("{library}", 2)'
    subprocess.run(
        ["gdb", "-q", "-batch", "-p", str(target.pid), "-ex", call],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def _gap(target: Target, act: Callable[[], None], window: float) -> float:
    """In seconds."""
    address = target.function("largest", b"/spinner")
    with ProcessMemory(target.pid) as memory:
        memory.write(address, bytes(8))
        time.sleep(window / 2)
        act()
        time.sleep(window / 2)
        return int.from_bytes(memory.read(address, 8), "little") / 1e9
