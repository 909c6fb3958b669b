"""Objects that outlive the swap."""

from pathlib import Path

import pytest

from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, Settled
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.mark.scenario(
    "objects",
    ("on the heap, with a layout that changed",),
    live="`--drain`: they stay with the old code until they are gone",
)
def test_objects_that_only_their_own_version_understands(
    compiler: Compiler, tmp_path: Path
) -> None:
    stage = Stage(compiler, tmp_path / "libobjects.so")
    old, new = (stage.build("drain/objects.c", version=v) for v in (1, 2))
    stage.install(old)
    include = ("-I", str(FIXTURES / "drain"), "-include", str(stage.header))
    with stage.running(stage.program("drain/user.c", *include, "-pthread")) as target:
        target.ask("new 0 10")
        stage.install(new)
        drain = DrainOptions((FIXTURES / "drain/objects.toml",))
        (result,) = swap_library(Request(stage.place, pids=(target.pid,), drain=drain)).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        assert [target.ask(q) for q in ("new 1 10", "step 0", "step 1", "free 0")] == [
            "1", "11", "12", "0",
        ]  # fmt: skip
        (result,) = settle([stage.place], [target.pid], Options()).processes
        assert isinstance(result.outcome, Settled), result.outcome
        assert target.ask("step 1") == "14"
