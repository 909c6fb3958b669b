"""Taking patches back, and patches and swaps one over the other."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from libswap.errors.live import RecordDamaged
from libswap.errors.patch import NoSuchPatch
from libswap.linux.memory import ProcessMemory
from libswap.live import registry
from libswap.live.patches import remembered
from libswap.operations.moves import Moved
from libswap.operations.patch_apply import apply
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_status import status
from libswap.process.maps import maps_of
from support.compiler import Compiler
from support.driven import Target
from support.patching import applied, not_taken_back, refused, taken_back
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

_UNTIL_ALL_WERE_THERE = 12
"""Rounds after which each patch has been applied in every way: alone, and for each other one."""
LIBRARY = (
    "static int n;\nint version(void) { return VERSION; }\n"
    "int next(void) { return ++n * 10 + VERSION; }\n"
)
PROGRAM = (
    "#include <unistd.h>\nint next(void), version(void);\nint main(void) { ready();"
    ' while (asked()) { if (!strcmp(line, "fork")) { int child = fork(); if (!child) for (;;)'
    " pause(); answer(child); } else answer(version() * 1000 + next()); } }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    made = Stage(compiler, tmp_path / "libscene.so")
    made.install(made.build(LIBRARY, version=1))
    return made


@pytest.fixture
def target(stage: Stage) -> Iterator[Target]:
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as running:
        yield running


def fix(stage: Stage, tmp_path: Path, n: int, functions: str = "both") -> Path:
    version = f"int version(void) {{ return {n}; }}\n"
    following = f"extern int n;\nint next(void) {{ return ++n * 10 + {n}; }}\n"
    text = {"both": version + following, "version": version, "next": following}[functions]
    return stage.patch(text, tmp_path / f"{functions}{n}.lsp")


def undo(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("undo", situations, patch=patch)


def series(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("series", situations, patch=patch)


@undo("revert at once", "by another run of libswap", "twice", "of something that was never applied")
def test_there_and_back(stage: Stage, target: Target, tmp_path: Path) -> None:
    path = fix(stage, tmp_path, 5)
    assert not_taken_back(target.pid).error == NoSuchPatch.__name__
    applied(path, target.pid)
    assert target.ask() == "5015"
    taken_back(target.pid)
    assert target.ask() == "1021"
    assert not_taken_back(target.pid).error == NoSuchPatch.__name__
    applied(path, target.pid)
    command = [sys.executable, "-m", "libswap", "patch", "revert", str(target.pid)]
    subprocess.run(command, check=True, capture_output=True)
    assert target.ask() == "1031"


@undo("in another order", patch="works; refused where a patch calls what it stands on: "
      "PatchNotRevertible")  # fmt: skip
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_in_any_order(
    stage: Stage, target: Target, tmp_path: Path, order: tuple[int, int, int]
) -> None:
    made = [fix(stage, tmp_path, 5), fix(stage, tmp_path, 6, "version"),
            fix(stage, tmp_path, 7, "next")]  # fmt: skip
    ids = [applied(path, target.pid).id for path in made]
    left = [0, 1, 2]
    for taken in order:
        taken_back(target.pid, ids[taken])
        left.remove(taken)
        version = max((i for i in left if i < 2), default=-1)
        following = 2 if 2 in left else 0 if 0 in left else -1
        found = target.ask()
        assert int(found) // 1000 == (5 + version if version >= 0 else 1), (taken, found)
        assert int(found) % 10 == (5 + following if following >= 0 else 1), (taken, found)
        assert status([target.pid], verify=True).exit_code == 0
    assert status([target.pid], active=True).processes[0].patches == ()


@undo("after fork in the child only")
def test_a_child_takes_back_its_own(stage: Stage, target: Target, tmp_path: Path) -> None:
    path = fix(stage, tmp_path, 5)
    applied(path, target.pid)
    child = int(target.ask("fork"))
    try:
        assert status([child], verify=True).exit_code == 0
        (inherited,) = status([child], active=True).processes[0].patches
        taken_back(child)
        assert status([child], active=True).processes[0].patches == ()
        with ProcessMemory(child) as memory:
            for entry in inherited.entries:
                assert memory.read(entry.address, 5).hex() == entry.before
        assert target.ask() == "5015", "the parent is its own"
        assert len(status([target.pid], active=True).processes[0].patches) == 1
        applied(path, child)
        taken_back(target.pid)
        assert status([child], verify=True).exit_code == 0
    finally:
        os.kill(child, 9)


@undo("with a damaged record", patch="refused: RecordDamaged")
def test_with_a_damaged_record(stage: Stage, target: Target, tmp_path: Path) -> None:
    path = fix(stage, tmp_path, 5)
    applied(path, target.pid)
    with ProcessMemory(target.pid) as memory:
        place = registry.find(memory, maps_of(target.pid), target.pid)
        assert place is not None
        for half in range(2):
            at = place.address + 16 + half * registry.half_size(place.size)
            memory.write(at + 16, b"damage")
    assert not_taken_back(target.pid).error == RecordDamaged.__name__
    assert refused(path, target.pid).error == RecordDamaged.__name__
    assert target.ask() == "5015"


@series("patch over swap")
def test_a_patch_over_a_swap(stage: Stage, target: Target, tmp_path: Path) -> None:
    old = fix(stage, tmp_path, 5)
    stage.install(stage.build(LIBRARY, version=2))
    stage.moved(target)
    new = fix(stage, tmp_path, 6)
    assert refused(old, target.pid).error == "PatchMismatch", "the old library is not in use"
    applied(new, target.pid)
    assert target.ask() == "6016"
    taken_back(target.pid)
    assert target.ask() == "2022"
    (outcome,) = reverted([target.pid])
    assert isinstance(outcome, Moved), outcome
    assert target.ask() == "1031"
    applied(old, target.pid)
    assert target.ask() == "5045"


@series("swap over patch", patch="refused: patched, until it is taken back")
def test_a_swap_over_a_patch(stage: Stage, target: Target, tmp_path: Path) -> None:
    applied(fix(stage, tmp_path, 5), target.pid)
    stage.install(stage.build(LIBRARY, version=2))
    found = stage.refused(target)
    assert "patched" in found.reason
    assert target.ask() == "5015"
    taken_back(target.pid)
    stage.moved(target)
    assert target.ask() == "2022"


@series("revert of a swap below a patch", patch="refused: patched, until it is taken back")
def test_a_swap_below_a_patch_stays(stage: Stage, target: Target, tmp_path: Path) -> None:
    stage.install(stage.build(LIBRARY, version=2))
    stage.moved(target)
    applied(fix(stage, tmp_path, 6), target.pid)
    (outcome,) = reverted([target.pid])
    assert not isinstance(outcome, Moved), outcome
    assert target.ask() == "6016"
    taken_back(target.pid)
    (outcome,) = reverted([target.pid])
    assert isinstance(outcome, Moved), outcome
    assert target.ask() == "1021"


@series("new patch replacing an old one in one commit")
def test_a_newer_one_takes_the_place(stage: Stage, target: Target, tmp_path: Path) -> None:
    first = applied(fix(stage, tmp_path, 5, "version"), target.pid)
    newer = applied(fix(stage, tmp_path, 6), target.pid, replace=True)
    assert newer.replaces == (first.id,)
    assert target.ask() == "6016"
    fewer = applied(fix(stage, tmp_path, 7, "next"), target.pid, replace=True)
    assert fewer.replaces == (newer.id,)
    assert target.ask() == "1027", "what the newer one leaves out is the library's own again"
    taken_back(target.pid)
    assert target.ask() == "1031"


def footprint(pid: int) -> tuple[int, int]:
    """How many mappings a process has, and how many patches its record knows."""
    return len(maps_of(pid)), len(status([pid]).processes[0].patches)


@series("1,000 in a row", patch="works; each uses the memory that it had before")
def test_many_in_a_row(stage: Stage, target: Target, tmp_path: Path) -> None:
    rounds = int(os.environ.get("LIBSWAP_ROUNDS", "18"))
    paths = [fix(stage, tmp_path, n) for n in (5, 6)]
    settled, calls = (0, 0), count(1)
    for turn in range(rounds):
        if turn == _UNTIL_ALL_WERE_THERE:
            settled = footprint(target.pid)
        n = turn % 2
        applied(paths[n], target.pid, replace=bool(turn % 3))
        assert target.ask() == str((5 + n) * 1001 + next(calls) * 10)
        if turn % 3 == 2:
            while status([target.pid], active=True).processes[0].patches:
                taken_back(target.pid)
            assert target.ask() == str(1001 + next(calls) * 10)
    assert status([target.pid], verify=True).exit_code == 0
    assert footprint(target.pid) <= settled, "it grows"


@series("a patch with variables of its own, again", patch="works; they begin anew, in new memory")
def test_variables_of_a_patch_begin_anew(stage: Stage, target: Target, tmp_path: Path) -> None:
    counting = "int version(void) { static int calls; return ++calls; }\n"
    path = stage.patch(counting, tmp_path / "counting.lsp")
    for _ in range(2):
        applied(path, target.pid)
        assert [int(target.ask()) // 1000 for _ in range(3)] == [1, 2, 3]
        taken_back(target.pid)
    places = {p.memory for p in status([target.pid]).processes[0].patches}
    assert len(places) == 2, "a call that still runs has the variables that it began with"


@series("a patch over another one and alone, in turn")
def test_the_memory_fits_what_lies_below(stage: Stage, target: Target, tmp_path: Path) -> None:
    calling = (
        "int libswap_original_version(void);\n"
        "int version(void) { return libswap_original_version() + 40; }\n"
    )
    below, above = fix(stage, tmp_path, 5), stage.patch(calling, tmp_path / "above.lsp")
    found = []
    for _ in range(3):
        applied(above, target.pid)
        assert target.ask().startswith("41")
        taken_back(target.pid)
        applied(below, target.pid)
        applied(above, target.pid)
        assert target.ask().startswith("45")
        taken_back(target.pid)
        taken_back(target.pid)
        assert target.ask().startswith("1")
        found.append(footprint(target.pid))
    assert len(set(found)) == 1, "one place for each of the two, and each of them again"


def test_a_record_forgets_what_was_taken_back_long_ago(
    stage: Stage, target: Target, tmp_path: Path
) -> None:
    applied(fix(stage, tmp_path, 5), target.pid)
    (one,) = status([target.pid]).processes[0].patches
    gone = [replace(one, id=f"{n:08x}", state="reverted") for n in range(100)]
    kept = remembered([gone[0], one, *gone[1:]])
    assert kept == (one, *gone[36:])


@series("all processes of a service")
def test_all_that_run_it(stage: Stage, tmp_path: Path) -> None:
    ours = (
        f"-Wl,--build-id=0x{secrets.token_hex(8)}"  # or those of tests beside us would be patched
    )
    stage.install(stage.build(LIBRARY, ours, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    path = fix(stage, tmp_path, 5)
    with stage.running(made) as one, stage.running(made) as two:
        child = int(one.ask("fork"))
        try:
            report = apply(path, Options())
            done = {p.pid for p in report.processes if isinstance(p.outcome, Applied)}
            assert done == {one.pid, two.pid, child}
            assert (one.ask(), two.ask()) == ("5015", "5015")
        finally:
            os.kill(child, 9)
