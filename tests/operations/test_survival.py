"""A live swap asks first whether the objects of the process survive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Planned, Refused
from libswap.operations.survival import Verdict
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target, running
from support.swapping import Stage
from support.terminal import libswap

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

STORE = "survival/store.c"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    stage = Stage(compiler, tmp_path / "libstore.so")
    stage.install(stage.build(STORE, version=1))
    return stage


@pytest.fixture
def target(stage: Stage) -> Iterator[Target]:
    driver = stage.program("survival/store_driver.c", "-I", str(FIXTURES / "survival"))
    with running([driver], ends=True) as target:
        yield target


def test_unsafe_is_refused_and_the_process_goes_on(stage: Stage, target: Target) -> None:
    stage.install(stage.build(STORE, "-DADDED", version=1))
    found = stage.refused(target)
    assert (found.error, found.exit_code) == ("ObjectsUnsafe", 104)
    assert "field-moved" in found.reason
    assert "--drain" in found.instead
    assert stage.refused(target, accept_unknown=True).error == "ObjectsUnsafe"
    assert target.ask() == "done"


def test_unknown_is_refused_unless_it_is_accepted(stage: Stage, target: Target) -> None:
    stage.install(stage.build(STORE, "-DCOMPARED", version=1))
    found = stage.refused(target)
    assert (found.error, found.exit_code) == ("ObjectsUnknown", 105)
    assert isinstance(stage.swap(target, accept_unknown=True), Moved)
    assert target.ask() == "done"


def test_a_dry_run_shows_the_verdict(stage: Stage, target: Target) -> None:
    stage.install(stage.build(STORE, "-DMOVED", version=1))
    report = swap_library(Request(stage.place, pids=(target.pid,), dry_run=True))
    planned = report.processes[0].outcome
    assert isinstance(planned, Planned)
    assert planned.survival is not None
    assert planned.survival.verdict is Verdict.UNSAFE
    assert target.ask() == "done"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [("FIXED", 0, "likely to survive"), ("MOVED", 104, "unsafe"), ("COMPARED", 105, "not known")],
)
def test_check_live_says_it_without_a_process(
    stage: Stage, tmp_path: Path, change: str, code: int, said: str
) -> None:
    new = stage.build(STORE, f"-D{change}", version=1)
    seen = libswap("check", "--live", str(stage.place), str(new), "--state-dir", str(tmp_path))
    assert (seen.code, said in seen.out) == (code, True)


def test_without_a_person_nothing_unknown_is_accepted(stage: Stage, target: Target) -> None:
    stage.install(stage.build(STORE, "-DCOMPARED", version=1))
    words = ["live", str(stage.place), "--pid", str(target.pid), "--json"]
    assert libswap(*words).code == 105
    assert isinstance(stage.refused(target), Refused)
    assert target.ask() == "done"


CONDITION = """
#if VERSION > 1
static long other[40] = {7}; long another(long by) { return other[3] += by; }
#endif
static long table[] = {1, 2};
long bump(const char *by)
{
    long *row = table;
    __asm__("" : "+r"(row)); /* its address is all that the code has of it */
    if (*by == '!')
        row[1] = 3;
    return VERSION * 10 + row[VERSION > 1 ? *by > 0 : 1];
}
"""


def test_what_check_names_as_a_condition_the_plan_finds_out_in_the_process(stage: Stage) -> None:
    old, new = (stage.build(CONDITION, "-Wl,-s", version=v) for v in (1, 2))
    seen = libswap("check", "--live", str(old), str(new), "--state-dir", str(stage.place.parent))
    assert (seen.code, "likely to survive" in seen.out) == (0, True), seen.out
    assert "where the conditions hold" in seen.out
    stage.install(old)
    asks = (
        "long bump(const char *);\n"
        "int main(void) { ready(); while (asked()) answer(bump(line)); return 0; }"
    )
    made = stage.program(asks, "-include", str(stage.header))
    with stage.running(made) as unused, stage.running(made) as used:
        assert (unused.ask("1"), used.ask("!")) == ("12", "13")
        stage.install(new)
        assert isinstance(stage.swap(unused), Moved)
        assert "state-without-names" in stage.refused(used).reason
        assert (unused.ask("1"), used.ask("1")) == ("22", "13")
