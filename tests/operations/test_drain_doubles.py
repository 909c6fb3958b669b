"""Objects that are made apart and used together: the old copy has doubles of the new ones."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, Settled, StillDraining, TakenBack
from libswap.operations.moves import Outcome
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

HERE = FIXTURES / "drain"


@pytest.fixture(scope="module")
def stage(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(compiler, tmp_path_factory.mktemp("doubles") / "libsettings.so")


@contextmanager
def draining(stage: Stage, *flags: str, handles: Path = HERE / "settings.toml") -> Iterator[Target]:
    """A program with old settings 0 of value 1 and a thing 0 made of them, and a drain begun."""
    old, new = (stage.build("drain/settings.c", *flags, version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/configured.c", f"-I{HERE}", "-include", str(stage.header))
    with stage.running(user) as target:
        assert asked(target, "new 0", "set 0 1", "make 0 0 0", "value 0") == [0, 1, 1, 1212]
        stage.install(new)
        request = Request(stage.place, pids=(target.pid,), drain=DrainOptions((handles,)))
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        yield target


def asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def settled(stage: Stage, target: Target, *, force: bool = False) -> Outcome:
    (result,) = settle([stage.place], [target.pid], Options(force=force)).processes
    return result.outcome


@pytest.mark.parametrize("flags", [(), ("-O0",), ("-Wl,-Bsymbolic",)])
def test_a_double_takes_the_place_of_what_meets_an_old_object(
    stage: Stage, flags: tuple[str, ...]
) -> None:
    with draining(stage, *flags) as target:
        assert asked(target, "new 1", "set 1 50", "copy 2 1", "set 2 60") == [0, 50, 1, 60]
        assert asked(target, "make 1 1 2", "value 1") == [1, 2320], "all are new"
        assert asked(target, "make 2 0 1", "value 2") == [1, 1261], "an old one and a new one"
        assert asked(target, "make 3 2 0", "value 3") == [1, 1271]
        assert asked(target, "set 2 70", "make 4 0 2", "value 4") == [70, 1, 1281], "set again"
        assert asked(target, "make 5 9 2", "value 5") == [1, 2280], "nothing and a new one"
        assert asked(target, "make 6 9 9", "value 6") == [1, 2210], "nothing at all"
        assert asked(target, "count 0", "count 1") == [3, 2]
        assert asked(target, "free 1", "free 2", "count 0", "count 1") == [0, 0, 1, 0]


def test_where_there_is_no_double_nothing_is_called(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "read 1 900", "make 1 0 1", "value 1") == [1, 1, 2111]
        assert asked(target, "read 2 1500", "make 2 0 2", "make 2 2 0", "copy 3 2") == [
            1,
            -1,
            -1,
            1,
        ]
        assert asked(target, "make 2 2 3", "value 2", "make 3 0 3") == [1, 5210, -1]
        assert asked(target, "set 2 5", "make 4 1 2", "value 4", "count 0", "count 4") == [
            5, 1, 3115, 2, 3,
        ]  # fmt: skip
        assert asked(target, "free 1", "free 2", "free 3", "count 0", "count 4") == [0, 0, 0, 1, 0]


def test_a_double_is_ended_where_the_new_copy_fails(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "read 1 -5", "count 0", "read 1 5", "count 0") == [0, 1, 1, 2]
        assert asked(target, "make 1 0 1", "value 1", "free 1", "count 0") == [1, 1216, 0, 1]


def test_without_doubles_what_would_mix_two_copies_is_not_called(
    stage: Stage, tmp_path: Path
) -> None:
    text = re.sub(r"(?m)^(doubled|undone) = .*$", "", (HERE / "settings.toml").read_text())
    handles = tmp_path / "settings.toml"
    handles.write_text(text.replace('["settings_default"]', '["settings_default"]\nby = "arg1"'))
    with draining(stage, handles=handles) as target:
        assert asked(target, "new 1", "set 1 50", "make 1 1 1", "value 1") == [0, 50, 1, 2310]
        assert asked(target, "make 2 0 1", "make 2 1 0") == [-1, -1]
        assert asked(target, "make 2 0 9", "value 2", "make 3 9 1", "value 3") == [
            1, 1211, 1, 2260,
        ]  # fmt: skip


def test_what_a_double_would_do_twice_has_none(stage: Stage, tmp_path: Path) -> None:
    handles = tmp_path / "settings.toml"
    before, reads, behind = (HERE / "settings.toml").read_text().partition('["settings_read"]')
    handles.write_text(before + reads + behind.replace("= true", '= "arg1 = 900"', 1))
    with draining(stage, handles=handles) as target:
        assert asked(target, "read 1 900", "make 1 0 1", "value 1") == [1, 1, 2111]
        assert asked(target, "read 2 800", "make 2 0 2", "make 2 2 1", "value 2") == [
            1, -1, 1, 3910,
        ]  # fmt: skip
        assert asked(target, "count 0", "free 1", "free 2", "count 0") == [2, 0, 0, 1]


def test_arguments_of_every_kind_are_given_to_both_copies(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "new 1", "set 1 10", "scale 1") == [0, 10, 51]
        assert asked(target, "make 1 1 9", "value 1") == [1, 2261]
        assert asked(target, "make 2 0 1", "value 2") == [1, 1262]
        assert asked(target, "default 30", "new 2", "make 3 2 9", "value 3") == [30, 0, 1, 2240]
        assert asked(target, "make 4 0 2", "value 4", "new 3") == [1, 1241, 0]


@pytest.mark.skipif(" avx " not in Path("/proc/cpuinfo").read_text(), reason="no AVX here")
def test_arguments_as_wide_as_the_registers_are_given_to_both_copies(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "new 1", "wide 1", "make 1 1 9", "value 1") == [0, 1, 1, 2240]
        assert asked(target, "make 2 0 1", "value 2") == [1, 1241]


def test_what_is_handed_out_for_one_request_alone(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "new 1", "set 1 8", "ask 1", "own 1 2", "ask 2") == [0, 8, 8, 0, 16]
        assert asked(target, "ask 0", "own 0 3", "ask 3") == [1, 0, 2]
        assert asked(target, "make 1 2 1", "value 1", "make 2 0 3", "value 2") == [1, 2234, 1, 1213]


def test_doubles_come_to_an_end_with_the_drain(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "new 1", "set 1 5", "free 0", "end 0") == [0, 5, 0, 0]
        assert isinstance(settled(stage, target), StillDraining)
        assert isinstance(settled(stage, target, force=True), Settled)
        assert asked(target, "new 2", "set 1 6", "make 1 1 2", "value 1", "count 1") == [
            0, 6, 1, 2216, 2,
        ]  # fmt: skip


def test_doubles_serve_while_a_drain_is_taken_back(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "new 1", "set 1 5") == [0, 5]
        assert isinstance(taken_back(target), StillDraining)
        assert asked(target, "new 2", "set 2 7", "set 1 6", "make 1 1 2", "value 1") == [
            0, 7, 6, 1, 1223,
        ]  # fmt: skip
        assert asked(target, "make 2 1 1", "value 2", "free 1", "end 2") == [1, 2222, 0, 0]
        assert isinstance(taken_back(target), TakenBack)
        assert asked(target, "count 1", "value 1") == [2, 1223]


def taken_back(target: Target) -> Outcome:
    (result,) = revert([target.pid], "", Options()).processes
    return result.outcome
