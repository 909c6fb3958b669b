"""Objects that tell which copy made them are known without being seen, and take no room."""

import pytest

from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, Settled, StillDraining
from libswap.operations.moves import Outcome
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

HANDLES = FIXTURES / "drain" / "told.toml"
MANY = 1000


def asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def settled(stage: Stage, target: Target) -> Outcome:
    (result,) = settle([stage.place], [target.pid], Options()).processes
    return result.outcome


def test_objects_tell_whose_they_are(
    compiler: Compiler, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = Stage(compiler, tmp_path_factory.mktemp("told") / "libtold.so")
    old, new = (stage.build("drain/told.c", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/teller.c", "-include", str(stage.header))
    with stage.running(user) as target:
        assert asked(target, "chain 0 3", f"chain 1 {MANY}") == [3, MANY]
        stage.install(new)
        request = Request(stage.place, pids=(target.pid,), drain=DrainOptions((HANDLES,)))
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        every = MANY * (MANY + 1) // 2
        assert asked(target, f"chain 2 {MANY}", "sum 2", "sum 1", "sum 0") == [
            MANY, 2 * every, every, 6,
        ]  # fmt: skip
        assert asked(target, "free 1", "chain 1 4", "sum 1", "free 2") == [0, 4, 20, 0]
        left = settled(stage, target)
        assert isinstance(left, StillDraining)
        assert left.left.seen + left.left.new == 0, "none of them is in the table"
        assert any("point into the old copy" in doubt for doubt in left.left.doubts)
        assert asked(target, "free 0") == [0]
        assert isinstance(settled(stage, target), Settled)
        assert asked(target, "sum 1", "chain 0 2", "sum 0") == [20, 2, 6]
