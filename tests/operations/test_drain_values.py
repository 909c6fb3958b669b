"""A library without objects: the new copy runs every call at once, and nothing is waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, DrainPlanned, Settled, TakenBack
from libswap.operations.moves import Outcome
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

HANDLES = FIXTURES / "drain" / "values.toml"


@pytest.fixture(scope="module")
def stage(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(compiler, tmp_path_factory.mktemp("values") / "libvalues.so")


@contextmanager
def started(stage: Stage) -> Iterator[Target]:
    """A program with the number 2, which version 1 counted to, and version 2 in its place."""
    old, new = (stage.build("drain/values.c", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/valued.c", "-include", str(stage.header))
    with stage.running(user) as target:
        assert asked(target, "step", "step", "calls") == [1, 2, 2]
        stage.install(new)
        yield target


def asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def drained(
    stage: Stage, target: Target, handles: Path = HANDLES, *, dry_run: bool = False
) -> Outcome:
    request = Request(
        stage.place, pids=(target.pid,), drain=DrainOptions((handles,)), dry_run=dry_run
    )
    (result,) = swap_library(request).processes
    return result.outcome


def test_a_drain_of_values_settles_by_itself(stage: Stage) -> None:
    with started(stage) as target:
        assert isinstance(drained(stage, target), DrainBegun)
        assert asked(target, "step", "calls", "step") == [4, 1, 6], "on the old one's number"
        (result,) = settle([stage.place], [target.pid], Options()).processes
        assert isinstance(result.outcome, Settled)
        assert asked(target, "step", "calls") == [8, 3]


def test_a_pointer_to_a_function_on_a_stack_is_no_call_under_way(stage: Stage) -> None:
    with started(stage) as target:
        assert asked(target, "hold", "held") == [0, 3]
        assert isinstance(drained(stage, target), DrainBegun)
        (result,) = settle([stage.place], [target.pid], Options()).processes
        assert isinstance(result.outcome, Settled)
        assert asked(target, "held", "calls") == [5, 1], "by the old address"


def test_a_drain_of_values_is_taken_back_at_once(stage: Stage) -> None:
    with started(stage) as target:
        assert isinstance(drained(stage, target), DrainBegun)
        assert asked(target, "step", "forget", "calls") == [4, 0, 0]
        (result,) = revert([target.pid], "", Options()).processes
        assert isinstance(result.outcome, TakenBack)
        assert asked(target, "calls", "step") == [0, 5], "the old copy was told to forget, too"


def test_nothing_is_known_of_a_library_of_which_no_function_is_described(
    stage: Stage, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(HANDLES.read_text().replace('"value_', '"other_'))
    with started(stage) as target:
        planned = drained(stage, target, other, dry_run=True)
        assert isinstance(planned, DrainPlanned)
        assert {f.word for f in planned.outlook.stoppers(force=True)} == {"drain-nothing"}
