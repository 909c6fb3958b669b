"""libswap killed at its ptrace requests and writes while it applies a patch or takes one back.

By default at the first and the last step of each kind (by the functions that led to it); with
LIBSWAP_EVERY_STEP set at every one. Interrupted by Ctrl-C right behind some of them, or all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from libswap.linux import death
from libswap.operations import patch_apply, patch_revert, patch_status
from libswap.operations.moves import Skipped
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted
from support.compiler import Compiler
from support.host import Host, host
from support.interruption import command, interrupted, require_let_go
from support.steps import killed, kinds, of_each_kind

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.slow]

EVERY: Final = bool(os.environ.get("LIBSWAP_EVERY_STEP"))
TARGET = """
#define KEEP __attribute__((noinline, noclone))
static KEEP int base(int x) { return x + 1 + (x > 1000 ? x / 7 : 0); }
static KEEP int other(int x) { return x * 1 + (x > 1000 ? x / 9 : 0); }
long scenario(long x) { return base((int)x) * 1000L + other((int)x); }
"""
OLD = 6005
ONE = "int base(int x) { return x + 2; }\n"
TWO = ONE + "int other(int x) { return x * 2; }\n"
HOOKS = """
static int log = 0;
__attribute__((constructor)) static void first(void) { log = log * 10 + 1; }
int libswap_pre_apply(void) { log = log * 10 + 2; return log != 12; }
int libswap_post_apply(void) { log = log * 10 + 3; return 0; }
int libswap_pre_revert(void) { return 0; }
"""
NEWER = "int base(int x) { return x + 4; }\nint other(int x) { return x * 4; }\n"


@dataclass(frozen=True, slots=True)
class Scene:
    """A target and patches of it: name -> file, and what scenario(5) gives with it."""

    program: Path
    files: dict[str, Path]
    values: dict[str, int]

    @contextmanager
    def running(self, under: str = "", past: str = "") -> Iterator[Host]:
        """A process, perhaps with a patch already, and one that was taken back."""
        with host(self.program) as process:
            if past:
                self.apply(process, past)
                revert(process)
            if under:
                self.apply(process, under)
            yield process

    def apply(self, process: Host, name: str) -> None:
        """It must succeed, or be there already."""
        options = Options(replace=True)
        (result,) = patch_apply.apply(self.files[name], options, pids=[process.pid]).processes
        assert isinstance(result.outcome, (Applied, Skipped)), result.outcome
        if isinstance(result.outcome, Applied):
            assert result.outcome.remarks == (), result.outcome


@pytest.fixture(scope="module")
def scene(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    work = tmp_path_factory.mktemp("patches")
    program = compiler.program("patch/host.c", str(compiler.object(TARGET, "-O2")))
    files = {}
    for name, text in {"one": ONE, "two": TWO + HOOKS, "newer": NEWER}.items():
        source = work / f"{name}.c"
        source.write_text(text)
        files[name] = work / f"{name}.lsp"
        build(Request([source], program, files[name]))
    return Scene(program, files, {"": OLD, "one": 7005, "two": 7010, "newer": 9020})


def revert(process: Host) -> None:
    (result,) = patch_revert.revert([process.pid], "", Options()).processes
    assert isinstance(result.outcome, Reverted), result.outcome


def _steps(work: Callable[[], None]) -> list[int]:
    """Those to die at; a few more than were seen, because no two runs wait equally often."""
    found = kinds(work)
    assert len(found) > 10
    return list(range(1, len(found) + 20)) if EVERY else of_each_kind(found)


def _verified(process: Host) -> None:
    (found,) = patch_status.status([process.pid], verify=True).processes
    assert (found.unfinished, found.damage, found.trouble) == (False, (), "")


@pytest.mark.parametrize(
    ("name", "under", "past"),
    [("one", "", ""), ("two", "", ""), ("newer", "two", ""), ("newer", "", "newer")],
)
def test_killed_while_it_applies(scene: Scene, name: str, under: str, past: str) -> None:
    """All functions are old or all are new, and the next libswap does what this one should."""
    with scene.running(under, past) as process:
        steps = _steps(lambda: scene.apply(process, name))
    seen = set()
    for step in steps:
        with scene.running(under, past) as process:
            killed(lambda: scene.apply(process, name), step)
            now = process.scenario(5)
            assert now in (scene.values[under], scene.values[name]), step
            seen.add(now)
            scene.apply(process, name)
            assert process.scenario(5) == scene.values[name], step
            _verified(process)
            revert(process)
            assert process.scenario(5) == OLD, step
    assert seen == {scene.values[under], scene.values[name]}, "before the turn and behind it"


@pytest.mark.parametrize(("name", "past"), [("one", ""), ("two", ""), ("newer", "newer")])
def test_killed_while_it_takes_back(scene: Scene, name: str, past: str) -> None:
    with scene.running(name, past) as process:
        steps = _steps(lambda: revert(process))
    seen = set()
    for step in steps:
        with scene.running(name, past) as process:
            killed(lambda: revert(process), step)
            now = process.scenario(5)
            assert now in (OLD, scene.values[name]), step
            seen.add(now)
            if now != OLD:
                revert(process)
            assert process.scenario(5) == OLD, step
            scene.apply(process, name)
            assert process.scenario(5) == scene.values[name], step
            _verified(process)
    assert seen == {OLD, scene.values[name]}, "before the turn and behind it"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "under"), [("two", ""), ("newer", "two")])
def test_interrupted_while_it_applies_and_takes_back(scene: Scene, name: str, under: str) -> None:
    """The target has the patch or not, is traced by nobody, and the next libswap goes on."""
    old, new = scene.values[under], scene.values[name]
    for step in range(1, 10_000, 1 if EVERY else 97):
        with scene.running(under) as process:
            on = ("patch", "apply", scene.files[name], "--replace", "--pid", process.pid)
            again = interrupted(partial(command, *on), step)
            require_let_go(process.pid)
            assert process.scenario(5) in (old, new), step
            scene.apply(process, name)
            assert process.scenario(5) == new, step
            _verified(process)
            again |= interrupted(partial(command, "patch", "revert", process.pid), step)
            require_let_go(process.pid)
            now = process.scenario(5)
            assert now in (OLD, new), step
            if now == new:
                revert(process)
            assert process.scenario(5) == OLD, step
            scene.apply(process, name)
            assert process.scenario(5) == new, step
            _verified(process)
        if not again:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_target_ends_in_the_middle(
    scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed, and not libswap, at a step: that is said, and is no traceback."""
    with scene.running() as process:
        steps = _steps(lambda: scene.apply(process, name))
    outcomes = set()
    for step in steps:
        with scene.running() as process:
            counted = count(1)

            def kill_at(
                step: int = step, process: Host = process, counted: Iterator[int] = counted
            ) -> None:
                if next(counted) == step:
                    process.kill()

            monkeypatch.setattr(death, "step", kill_at)
            options = Options(wait=0.3)
            (result,) = patch_apply.apply(scene.files[name], options, pids=[process.pid]).processes
            outcomes.add(type(result.outcome))
            monkeypatch.undo()
            if isinstance(result.outcome, Skipped):
                assert result.outcome.reason == f"process {process.pid} has ended"
    assert Skipped in outcomes
    assert outcomes <= {Applied, Skipped}, "nothing else is said of a process that has ended"
