"""The real command, killed or refused at each call that changes a file, one after the other."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from libswap.errors.install import Unfinished
from libswap.install import commit, journal
from libswap.install.replace import apply, open_directories
from libswap.install.state import locked
from libswap.operations import history, install, recover
from libswap.settings import Settings
from support.compiler import Compiler, has
from support.faults import CAN_FAIL, Call, Traced
from support.site import library
from support.warm import Warm, warm

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.ptrace,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not has("strace"), reason="no strace"),
]

Names: TypeAlias = Mapping[str, object]
"""The version of each file, the text of each link."""

ELSEWHERE = Path("/dev/shm")
OLD: Names = {"liba.so.1": "liba.so.1.1", "liba.so.1.1": 1, "libb.so": 1}
NEW: Names = {"liba.so.1": "liba.so.1.2", "liba.so.1.1": 1, "liba.so.1.2": 2, "libb.so": 2}
EVERY = 1 if os.environ.get("LIBSWAP_EVERY_STEP") else 3
"""At which of the calls an error comes, as opposed to a kill: at each, or each in its turn."""
COLD = 20
"""Every which fault strikes a command that was started for it; the others, forks of `Warm`."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A copy of one beginning, to be spoilt.

    Attributes:
        root: holds lib, new and, unless that is elsewhere, the state.
        state: the state directory.
        versions: what bytes stand for which version.
    """

    root: Path
    state: Path
    versions: dict[bytes, int]

    @property
    def settings(self) -> Settings:
        return Settings(state_dir=self.state)

    @property
    def directories(self) -> tuple[Path, ...]:
        return (self.root / "lib", self.state, self.state / "store")

    def command(self, *words: str) -> list[str]:
        return [*words, "--yes", "--state-dir", str(self.state)]

    def installing(self, *options: str) -> list[str]:
        sources = [str(self.root / "new" / name) for name in ("liba.so.1.2", "libb.so")]
        return self.command("install", *sources, "--into", str(self.root / "lib"), *options)

    def plan(self) -> install.Plan:
        """The installation that the command makes."""
        sources = [str(self.root / "new" / name) for name in ("liba.so.1.2", "libb.so")]
        request = install.Request(sources=tuple(sources), destination=str(self.root / "lib"))
        return install.plan(request, self.settings)

    def found(self) -> Names:
        """Every name in the directory."""
        return {
            path.name: str(path.readlink())
            if path.is_symlink()
            else self.versions.get(path.read_bytes(), "torn")
            for path in (self.root / "lib").iterdir()
        }


@pytest.fixture(scope="module")
def server() -> Iterator[Warm]:
    with warm() as started:
        yield started


@pytest.fixture
def scenes(compiler: Compiler, tmp_path: Path) -> Iterator[Callable[[str], Scene]]:
    """Makes a scene by its name; state directories on another file system are removed again."""
    files = {
        version: (
            library(compiler, version, soname="liba.so.1").read_bytes(),
            library(compiler, version, soname="libb.so").read_bytes(),
        )
        for version in (1, 2)
    }
    versions = {data: version for version, both in files.items() for data in both}

    def make(name: str) -> Scene:
        root = tmp_path / name
        for directory in ("lib", "new"):
            (root / directory).mkdir(parents=True)
        (root / "lib/liba.so.1.1").write_bytes(files[1][0])
        (root / "lib/liba.so.1").symlink_to("liba.so.1.1")
        (root / "lib/libb.so").write_bytes(files[1][1])
        (root / "new/liba.so.1.2").write_bytes(files[2][0])
        (root / "new/libb.so").write_bytes(files[2][1])
        state = root / "state"
        if name.startswith("elsewhere"):
            state = ELSEWHERE / f"libswap-{os.getpid()}-{name}" / "state"
        return Scene(root, state, versions)

    yield make
    for left in ELSEWHERE.glob(f"libswap-{os.getpid()}-*"):
        shutil.rmtree(left)


def verify(scene: Scene, status: int, ends: tuple[Names, Names]) -> str:
    """What is wrong after a fault, in words; "" for nothing.

    Args:
        scene: where it happened.
        status: of the command.
        ends: all names as they were before the operation, and as they are to be after it.
    """
    before, after = ends
    names = scene.found()
    for name in {**before, **after}:
        if names.get(name) not in (before.get(name), after.get(name)):
            return f"{name} is neither old nor new: {names}"
    if status == 0 and names != after:
        return f"it said done: {names}"
    if status > 0 and status != Unfinished.exit_code and names != before:
        return f"it refused ({status}) and changed: {names}"
    recover.carry_out(scene.settings)
    if scene.found() not in (before, after):
        return f"recovered to a mixture: {scene.found()}"
    return _leftovers(scene)


def _leftovers(scene: Scene) -> str:
    if not scene.state.is_dir():
        return ""
    if recover.pending(scene.settings) is not None:
        return "the journal is still there"
    told = history.tell(scene.settings)
    if told.damaged and len(told.operations) == 0:
        return f"the history does not know: {told}"
    names = {path.name for path in scene.state.iterdir()} - {"lock", "store", "history"}
    kept = {path.name for path in scene.state.glob("store/*")}
    wanted = {keep for o in told.operations for keep in o.transaction.kept}
    return f"left behind: {names} {kept - wanted}" if names or kept - wanted else ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every fault in turn.

    Attributes:
        warm: runs the commands.
        make: a scene by its name.
    """

    warm: Warm
    make: Callable[[str], Scene]

    def __call__(
        self,
        fault: str,
        command: Callable[[Scene], list[str]],
        prepare: Callable[[Scene], tuple[Names, Names]],
        *,
        name: str = "here",
        touching: str = "",
    ) -> list[str]:
        """At every call whose text holds `touching`; what went wrong, in words."""
        calls: list[Call] = []
        for names in (False, True):
            scene = self.make(f"{name}-record-{names}")
            prepare(scene)
            traced = Traced(scene.directories, self.warm)
            recorded = traced.record(command(scene), scene.root / "log", names=names)
            able = [c for c in recorded if fault == "SIGKILL" or c.name in CAN_FAIL[fault]]
            calls += [call for call in able if touching in call.text]
        assert len(calls) > 5, calls
        if fault != "SIGKILL":
            calls = calls[list(CAN_FAIL).index(fault) % EVERY :: EVERY]

        def spoil(number: int, call: Call) -> str:
            scene = self.make(f"{name}-{number}")
            ends, traced = prepare(scene), Traced(scene.directories, self.warm)
            words, cold = command(scene), number % COLD == 0
            status = traced.inject(words, call, fault, scene.root / "log", cold=cold)
            wrong = verify(scene, status, ends)
            shutil.rmtree(scene.root)
            return f"{call.name} {call.ordinal} {call.text}: {wrong}" if wrong else ""

        return [wrong for number, call in enumerate(calls) if (wrong := spoil(number, call))]


@pytest.fixture
def sweep(server: Warm, scenes: Callable[[str], Scene]) -> Sweep:
    return Sweep(server, scenes)


def fresh(_: Scene) -> tuple[Names, Names]:
    return OLD, NEW


def installed(scene: Scene) -> tuple[Names, Names]:
    plan = scene.plan()
    install.carry_out(plan, scene.settings)
    return NEW, OLD


def interrupted(scene: Scene) -> tuple[Names, Names]:
    """Committed, and killed after the first of three names: recovery goes forward."""
    plan = scene.plan()
    with (
        locked(scene.state, 0, "install") as state,
        open_directories(plan.transaction) as directories,
    ):
        journal.begin(state.directory, plan.transaction)
        commit._prepare(plan.transaction, state, directories)
        journal.mark(state.directory, journal.Commit(plan.transaction.id))
        first = plan.transaction.changes[0]
        apply(first, plan.transaction.strategy, directories[first.directory])
    return OLD, NEW


def spoilt(scene: Scene) -> tuple[Names, Names]:
    """As before, but what was staged for the last is gone: recovery must go back."""
    ends = interrupted(scene)
    (stage,) = [path for path in (scene.root / "lib").glob(".libswap-*") if path.is_symlink()]
    stage.unlink()
    return ends


@pytest.mark.parametrize("fault", ["SIGKILL", *CAN_FAIL])
def test_an_installation_of_several_is_all_or_nothing(sweep: Sweep, fault: str) -> None:
    assert sweep(fault, Scene.installing, fresh) == []


def test_a_rollback_that_is_killed_is_all_or_nothing(sweep: Sweep) -> None:
    def command(scene: Scene) -> list[str]:
        return scene.command("rollback")

    assert sweep("SIGKILL", command, installed, touching="/lib>") == []


@pytest.mark.parametrize("prepare", [interrupted, spoilt])
def test_a_recovery_that_is_killed_is_begun_again(
    sweep: Sweep, prepare: Callable[[Scene], tuple[Names, Names]]
) -> None:
    def command(scene: Scene) -> list[str]:
        return ["recover", "--state-dir", str(scene.state)]

    assert sweep("SIGKILL", command, prepare) == []


def test_kept_copies_on_another_file_system_make_no_difference(
    sweep: Sweep, tmp_path: Path
) -> None:
    if not ELSEWHERE.is_dir() or ELSEWHERE.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    assert sweep("SIGKILL", Scene.installing, fresh, name="elsewhere", touching="/store") == []
