"""Busy processes: patched and taken back while their threads call what is replaced."""

from pathlib import Path

import pytest

from libswap.errors.live import CommitBlocked
from libswap.operations.patch_status import status
from support.compiler import Compiler
from support.patching import applied, refused, taken_back
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = (
    "static _Atomic int n;\nint version(void) { return VERSION; }\n"
    "int next(void) { return (n++ % 1000) * 10 + VERSION; }\n"
)
FIX = (
    "extern _Atomic int n;\nint version(void) { return 2; }\n"
    "int next(void) { return (n++ % 1000) * 10 + 2; }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    made = Stage(compiler, tmp_path / "libscene.so")
    made.install(made.build(LIBRARY, version=1))
    return made


@pytest.fixture
def fix(stage: Stage, tmp_path: Path) -> Path:
    return stage.patch(FIX, tmp_path / "fix.lsp")


def threads(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("threads", situations, patch=patch)


@threads(
    "spinning", "all spinning on fewer cores", "64 in malloc and free", "in dlopen and dlclose",
    "being created and ending", "fork-heavy", "a signal every millisecond, on an alternate stack",
    "64",
)  # fmt: skip
@pytest.mark.parametrize(
    ("work", "count"),
    [("spin", 3), ("compute", 64), ("malloc", 64), ("dlopen", 2), ("churn", 4), ("fork", 2),
     ("signals", 2)],
)  # fmt: skip
def test_a_busy_process_is_patched(stage: Stage, fix: Path, work: str, count: int) -> None:
    made = stage.program("live/busy.c", "-include", str(stage.header), "-pthread")
    with stage.running(made, work, str(count)) as target:
        assert target.ask("version") == "1"
        applied(fix, target.pid, wait=60.0)
        assert target.ask("version") == "2"
        assert target.ask("go on") == "1"
        taken_back(target.pid, wait=60.0)
        assert target.ask("version") == "1"
        assert target.ask("go on") == "1"
        assert target.ask("wrong") == "0"


@threads("64 that do nothing but call", "an event loop inside the library",
         patch="refused by name; works with --relaxed")  # fmt: skip
def test_a_call_that_never_ends_is_named_and_may_end_in_the_old_code(
    stage: Stage, tmp_path: Path
) -> None:
    library = (
        "int slow(int (*ask)(void)) { int n = 0; while (ask()) n++; return n * 10 + VERSION; }\n"
        "int version(void) { return VERSION; }\n"
    )
    events = (
        "int slow(int (*)(void)), version(void);\nstatic int one(void) { if (!asked() ||"
        ' !strcmp(line, "stop")) return 0; answer(version()); return 1; }\n'
        "int main(void) { ready(); for (;;) answer(slow(one)); }\n"
    )
    stage.install(stage.build(library, version=1))
    path = stage.patch(library.replace("VERSION", "2"), tmp_path / "slow.lsp")
    with stage.running(stage.program(events, "-include", str(stage.header))) as target:
        assert target.ask() == "1"
        found = refused(path, target.pid, wait=0.2)
        assert found.error == CommitBlocked.__name__
        assert "slow" in found.reason
        applied(path, target.pid, relaxed=True)
        assert target.ask() == "2", "what the loop calls is new"
        assert target.ask("stop").endswith("1"), "the running call ended in the old code"
        assert target.ask() == "2"
        taken_back(target.pid, relaxed=True)
        assert target.ask() == "1"
        applied(path, target.pid)
        assert target.ask() == "2", "from the memory that the running call is in"
        assert len(status([target.pid]).processes[0].patches) == 1
        assert target.ask("stop").endswith("2"), "the running call ended in the patch"
