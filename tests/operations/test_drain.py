"""Objects that the old code made stay with it, whatever the new code thinks of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from libswap.errors.live import CommitBlocked
from libswap.live.draining import begin, table
from libswap.live.draining.record import Then
from libswap.live.outlook import Options
from libswap.operations.draining import (
    DrainBegun,
    DrainOptions,
    DrainPlanned,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.moves import Outcome, Refused
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.status import status
from libswap.operations.swap import Request, swap_library
from libswap.operations.unfinished import finish
from libswap.process.identity import Identity
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

HERE = FIXTURES / "drain"
HANDLES = HERE / "objects.toml"


@pytest.fixture(scope="module")
def stage(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(compiler, tmp_path_factory.mktemp("drain") / "libobjects.so")


@contextmanager
def started(stage: Stage, *flags: str) -> Iterator[Target]:
    """A program on version 1, with version 2 installed behind its back."""
    old, new = (stage.build("drain/objects.c", *flags, version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/user.c", f"-I{HERE}", "-pthread", "-include", str(stage.header))
    with stage.running(user) as target:
        assert asked(target, "version", "new 0 10", "step 0", "attach 0 3") == [1, 1, 11, 0]
        stage.install(new)
        yield target


def asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def drained(
    stage: Stage, target: Target, *, handles: Path = HANDLES, dry_run: bool = False,
    **options: object,
) -> Outcome:  # fmt: skip
    request = Request(
        stage.place, pids=(target.pid,), options=Options(**options),  # type: ignore[arg-type]
        dry_run=dry_run, drain=DrainOptions((handles,)),
    )  # fmt: skip
    (result,) = swap_library(request).processes
    return result.outcome


def begun(stage: Stage, target: Target) -> None:
    outcome = drained(stage, target)
    assert isinstance(outcome, DrainBegun), outcome


def settled(stage: Stage, target: Target, *, force: bool = False) -> Outcome:
    (result,) = settle([stage.place], [target.pid], Options(force=force)).processes
    return result.outcome


def taken_back(target: Target) -> Outcome:
    (result,) = revert([target.pid], "", Options()).processes
    return result.outcome


@pytest.mark.parametrize(
    "flags", [(), ("-fcf-protection=full",), ("-Os",), ("-fno-plt",), ("-Wl,-Bsymbolic",), ("-O0",)]
)
def test_each_object_stays_with_the_code_that_made_it(stage: Stage, flags: tuple[str, ...]) -> None:
    with started(stage, *flags) as target:
        begun(stage, target)
        old = asked(target, "version", "step 0", "sum 0", "mix 0", "busy 0", "advance 0")
        assert old == [2, 12, 302, 542, 1, 4]
        new = asked(target, "new 1 10", "step 1", "sum 1", "mix 1", "busy 1", "open 2", "step 2")
        assert new == [1, 12, 559, 799, 1, 0, 99]
        # From within a function of the program that the library calls, and in a child of a fork
        assert asked(target, "visit 0", "visit 1", "fork 0", "fork 1") == [15016, 18018, 163, 203]
        # What is made of an old object is old, what is made of a new one is new
        made = asked(target, "child 0 3", "step 3", "child 1 4", "step 4", "attach_copy 0 2")
        assert made == [1, 31, 1, 38, 0]
        assert asked(target, "advance 2", "attach 1 4", "advance 1") == [5, 0, 6]
        assert isinstance(settled(stage, target), StillDraining)
        assert asked(target, "free 0", "detach 0", "detach 2", "close 3") == [0] * 4
        assert isinstance(settled(stage, target), Settled)
        assert asked(target, "step 1", "step 4", "free 1", "new 0 1", "step 0") == [20, 40, 0, 1, 3]
        assert asked(target, "advance 1", "detach 1", "detach 1", "version") == [8, 0, 1, 2]


def test_what_is_made_of_a_new_object_has_room_however_many_old_ones_are_made(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        assert asked(target, "new 1 10", f"many {table.MOST_MADE - 1} 10") == [1, 12]
        assert asked(target, "new 2 10", "step 2") == [1, 11], "more than half full: the old copy"
        assert asked(target, f"many {table.SLOTS} 10") == [11]
        assert asked(target, "child 1 3", "step 3", "step 1", "step 2") == [1, 22, 12, 12]


def test_what_belongs_to_another_object_goes_with_it(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        assert asked(target, "detach 0", "lent 0 1", "step 1", "lent 0 1", "step 1") == [
            0, 1, 112, 1, 113,
        ]  # fmt: skip
        assert asked(target, "new 2 10", "lent 2 3", "step 3") == [1, 1, 112]
        (left,) = status([target.pid]).processes[0].drains
        assert (left.seen, left.new) == (1, 1)
        assert asked(target, "free 0") == [0]
        assert isinstance(settled(stage, target), Settled)
        assert asked(target, "step 3", "free 2") == [114, 0]


def test_parts_of_what_is_made_are_known_and_not_waited_for(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        assert asked(target, "with 2 3", "step 3", "step 2") == [1, 112, 12]
        (left,) = status([target.pid]).processes[0].drains
        assert left.new == 1
        assert isinstance(taken_back(target), StillDraining)
        assert asked(target, "with 4 5", "step 5", "step 3", "free 2") == [1, 111, 114, 0]
        assert isinstance(taken_back(target), TakenBack)
        assert asked(target, "step 5", "free 4") == [112, 0]


def test_what_is_made_of_nothing_is_made_by_the_new_code(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        assert asked(target, "child 9 1", "step 1", "child 0 2", "step 2") == [1, 102, 1, 23]
        assert isinstance(taken_back(target), StillDraining)
        assert asked(target, "child 9 3", "step 3", "step 1") == [1, 101, 104]


@pytest.mark.parametrize("lent", [False, True])
def test_what_is_lent_is_not_waited_for_even_if_it_was_met_before(
    stage: Stage, tmp_path: Path, *, lent: bool
) -> None:
    handles = tmp_path / "objects.toml"
    text = HANDLES.read_text()
    handles.write_text(text.replace("borrowed = true", f"borrowed = true\nlent = {lent}".lower()))
    with started(stage) as target:
        assert asked(target, "detach 0", "lent 0 1") == [0, 1]
        assert isinstance(drained(stage, target, handles=handles), DrainBegun)
        assert asked(target, "step 1", "lent 0 1", "step 1") == [112, 1, 113]
        assert asked(target, "free 0") == [0]
        (left,) = status([target.pid]).processes[0].drains
        assert left.seen == (0 if lent else 1), "its owner has taken it along"


def test_what_is_borrowed_is_not_waited_for_where_it_is_only_used(
    stage: Stage, tmp_path: Path
) -> None:
    handles = tmp_path / "objects.toml"
    rule = '[[rule]]\nfunctions = ["object_step"]\nby = "arg1"\nborrowed = true\n'
    handles.write_text(f"{HANDLES.read_text()}\n{rule}")
    with started(stage) as target:
        assert asked(target, "detach 0", "lent 0 1") == [0, 1]
        assert isinstance(drained(stage, target, handles=handles), DrainBegun)
        assert asked(target, "step 1", "new 2 10", "step 2", "free 0") == [112, 1, 12, 0]
        (left,) = status([target.pid]).processes[0].drains
        assert (left.seen, left.new) == (0, 1)
        assert isinstance(settled(stage, target), Settled)
        assert asked(target, "step 2", "free 2") == [14, 0]


def test_the_plan_says_what_each_function_does_with_handles(stage: Stage) -> None:
    with started(stage) as target:
        outcome = drained(stage, target, dry_run=True)
        assert isinstance(outcome, DrainPlanned)
        kinds = {"derives": 4, "ends": 3, "makes": 4, "plain": 1, "uses": 5}
        assert outcome.outlook.kinds == kinds
        assert not outcome.outlook.findings
        assert asked(target, "version") == [1]


def test_objects_that_nobody_used_since_are_found_in_memory(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        (process,) = status([target.pid]).processes
        (left,) = process.drains
        assert (left.seen, left.found, left.new) == (0, 1, 0)  # the one that a holder links
        assert any("points into the old copy" in doubt or "point into" in doubt
                   for doubt in left.doubts)  # fmt: skip
        assert isinstance(settled(stage, target, force=True), StillDraining)
        assert asked(target, "detach 0") == [0]
        assert isinstance(settled(stage, target), StillDraining), "one is kept and not used"
        assert asked(target, "free 0") == [0]
        assert isinstance(settled(stage, target), Settled)


def test_a_drain_is_taken_back_when_the_last_new_object_has_gone(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        assert asked(target, "new 1 10", "step 1", "sum 1") == [1, 12, 559]
        outcome = taken_back(target)
        assert isinstance(outcome, StillDraining)
        assert (outcome.left.back, outcome.left.new) == (True, 1)
        assert asked(target, "version", "new 2 10", "sum 2", "sum 1") == [1, 1, 302, 559]
        assert asked(target, "free 1") == [0]
        assert isinstance(settled(stage, target), TakenBack)
        assert asked(target, "version", "step 0", "step 2", "free 0") == [1, 12, 11, 0]
        begun(stage, target)  # and once more, with the copy that is loaded
        assert asked(target, "version", "new 1 1", "sum 1", "sum 2") == [2, 1, 559, 302]


def test_threads_that_make_use_and_end_objects_all_the_while(stage: Stage) -> None:
    with started(stage) as target:
        asked(target, "threads 6")
        begun(stage, target)
        rounds = asked(target, "rounds")[0]
        while asked(target, "rounds")[0] < rounds + 20_000:
            assert asked(target, "wrong") == [0]
        back = taken_back(target)
        assert isinstance(back, StillDraining | TakenBack), back
        assert asked(target, "join") == [0]
        assert asked(target, "free 0", "detach 0") == [0, 0]
        if isinstance(back, StillDraining):  # else no new object was there just then
            assert isinstance(settled(stage, target), TakenBack)


def test_a_drain_that_finds_no_safe_moment_leaves_no_memory_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blocked(identity: Identity, *_: object, **__: object) -> NoReturn:
        raise CommitBlocked(identity.pid, 0.0, ("a thread",))

    monkeypatch.setattr(begin, "commit", blocked)
    with started(stage) as target:
        sizes = []
        for _ in range(3):
            outcome = drained(stage, target)
            assert isinstance(outcome, Refused)
            assert outcome.error == "CommitBlocked"
            sizes.append(psutil.Process(target.pid).memory_info().vms)
        assert max(sizes) - sizes[0] < table.ALLOCATED
        assert asked(target, "step 0", "version") == [12, 1]


def test_nothing_else_changes_a_library_that_is_drained(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        again = drained(stage, target)
        assert isinstance(again, Refused)
        assert "draining" in again.reason
        swapped = stage.refused(target)
        assert "draining" in swapped.reason


def test_a_library_that_nobody_has_described_is_not_drained(stage: Stage) -> None:
    with started(stage) as target:
        request = Request(stage.place, pids=(target.pid,), drain=DrainOptions())
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, Refused)
        assert result.outcome.error == "HandlesUnknown"
        assert asked(target, "version") == [1]


def test_functions_without_a_description_are_a_risk(stage: Stage, tmp_path: Path) -> None:
    poor = tmp_path / "poor.toml"
    poor.write_text(HANDLES.read_text().replace('["object_*"]', '["object_sum"]'))
    with started(stage) as target:
        request = Request(stage.place, pids=(target.pid,), drain=DrainOptions((poor,)))
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, Refused)
        assert "drain-undescribed: object_mix, object_step, object_visit" in result.outcome.reason
        forced = Request(
            stage.place, pids=(target.pid,), options=Options(force=True),
            drain=DrainOptions((poor,)),
        )  # fmt: skip
        (result,) = swap_library(forced).processes
        assert isinstance(result.outcome, DrainBegun)
        assert asked(target, "step 0", "mix 0", "new 1 10", "step 1", "mix 1") == [
            12, 542, 1, 12, 799,
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("called", "how"),
    [
        ("", ["-Wl,-u,dlsym"]),
        ("object_outdated", ["-Wl,-u,object_outdated"]),
        ("dlsym", ["-DLOOKED_UP=object_outdated"]),
    ],
)
def test_what_the_new_library_lacks_stops_a_drain_only_if_something_calls_it(
    stage: Stage, called: str, how: list[str]
) -> None:
    stage.install(stage.build("drain/objects.c", "-DOLDER", version=1))
    flags = [f"-I{HERE}", "-pthread", *how]
    user = stage.program("drain/user.c", *flags, "-include", str(stage.header))
    with stage.running(user) as target:
        assert asked(target, "new 0 10", "step 0") == [1, 11]
        stage.install(stage.build("drain/objects.c", version=2))
        outcome = drained(stage, target)
        if called:
            assert isinstance(outcome, Refused)
            if called == "object_outdated":
                assert outcome.error == "AbiBroken"
                outcome = drained(stage, target, force=True)
                assert isinstance(outcome, Refused)
            assert "object_outdated: it takes objects of both copies" in outcome.reason
        else:
            assert isinstance(outcome, DrainBegun), outcome
            assert [f.subject for f in outcome.outlook.findings] == ["object_outdated"]
        assert asked(target, "step 0", "new 1 10", "step 1") == [12, 1, 11 if called else 12]


@pytest.mark.parametrize("copies", [False, True])
def test_data_that_grew_stop_a_drain_only_if_the_program_holds_a_copy(
    stage: Stage, *, copies: bool
) -> None:
    old, new = (stage.build("drain/objects.c", "-DTABLE", version=v) for v in (1, 2))
    stage.install(old)
    flags = [f"-I{HERE}", "-pthread", *(["-DCOPIES"] if copies else [])]
    user = stage.program("drain/user.c", *flags, "-include", str(stage.header))
    with stage.running(user) as target:
        stage.install(new)
        outcome = drained(stage, target)
        if copies:
            assert isinstance(outcome, Refused)
            assert "object_table: a program that holds a copy" in outcome.reason
        else:
            assert isinstance(outcome, DrainBegun), outcome


def test_a_drain_whose_time_is_up_is_taken_back(stage: Stage) -> None:
    with started(stage) as target:
        chosen = DrainOptions((HANDLES,), limit=1e-3, then=Then.REVERT)
        (result,) = swap_library(Request(stage.place, pids=(target.pid,), drain=chosen)).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        assert asked(target, "new 1 10", "sum 1") == [1, 559]
        (left,) = status([target.pid]).processes[0].drains
        assert left.overdue
        outcome = settled(stage, target)
        assert isinstance(outcome, StillDraining)
        assert outcome.left.back
        assert asked(target, "free 1") == [0]
        assert isinstance(settled(stage, target), TakenBack)
        assert asked(target, "version", "step 0") == [1, 12]


def test_status_can_end_a_drain_that_is_over(stage: Stage) -> None:
    with started(stage) as target:
        begun(stage, target)
        (process,) = finish([target.pid]).processes
        assert process.drains, "old objects are left"
        assert asked(target, "free 0", "detach 0") == [0, 0]
        (process,) = finish([target.pid]).processes
        assert not process.drains
        assert process.events[-1].state == "done"
        assert asked(target, "new 1 10", "step 1", "version") == [1, 12, 2]


def test_headers_of_another_malloc_hide_no_object(stage: Stage) -> None:
    slabs = stage.compiler.library("drain/slabs.c", "-O2", "-fno-builtin", name="libslabs.so")
    old, new = (stage.build("drain/objects.c", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/user.c", f"-I{HERE}", "-pthread", "-include", str(stage.header))
    with stage.running(user, LD_PRELOAD=str(slabs)) as target:
        assert asked(target, *(f"new {n} {n}" for n in range(31))) == [1] * 31
        stage.install(new)
        assert isinstance(drained(stage, target), DrainBegun)
        assert asked(target, *(f"free {n}" for n in (0, *range(16, 31)))) == [0] * 16
        left = settled(stage, target)
        assert isinstance(left, StillDraining), left
        assert left.left.doubts[0].startswith("15 words still point"), left
        assert int(target.ask("step 5")) == 6
