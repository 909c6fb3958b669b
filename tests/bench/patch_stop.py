"""How long a process stands still for a function patch, as libswap measured it."""

import tempfile
from pathlib import Path

from libswap.operations.patch_apply import apply
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted, revert
from support.compiler import Compiler
from support.target import running
from tests.bench.section import Row, Section

_ROUNDS = 15
FIX = "long deep(int, long);\nextern int depth;\nlong work(long a) { return deep(depth, a) + 5; }\n"


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        program = Compiler(work).program("patch/spinner.c", "-O2", "-pthread", "-DSLEEPING")
        (work / "fix.c").write_text(FIX)
        build(Request([work / "fix.c"], program, work / "fix.lsp"))
        rows = [row for threads in (1, 8) for row in _rows(program, work / "fix.lsp", threads)]
    about = (
        "One function is replaced and given back while all threads but one call it again and again,"
        " sleeping a moment in between; from the first stop to the last thread's going on."
    )
    return (Section("Standstill for a patch", about, tuple(rows)),)


def _rows(program: Path, patch: Path, threads: int) -> tuple[Row, Row]:
    on, off = [], []
    with running(program, str(threads - 1)) as target:
        for _ in range(_ROUNDS):
            options = Options(wait=60.0)
            applied = apply(patch, options, pids=[target.pid]).processes[0].outcome
            assert isinstance(applied, Applied), applied
            reverted = revert([target.pid], "", options).processes[0].outcome
            assert isinstance(reverted, Reverted), reverted
            on.append(applied.stopped_for)
            off.append(reverted.stopped_for)
    return Row(f"apply, {threads} threads", tuple(on)), Row(f"revert, {threads}", tuple(off))
