import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Planned, Refused, Skipped
from libswap.operations.status import status
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler, has
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

ANSWERS = ("version", "global", "heap", "stack")


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libversion.so")


def _all(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions or ANSWERS]


LIBRARIES = {
    "plain": (),
    "bind now and full relro": ("-Wl,-z,now,-z,relro",),
    "no relro": ("-Wl,-z,norelro",),
    "symbolic": ("-Wl,-Bsymbolic",),
    "protected functions": ('-DFUNCTION=__attribute__((visibility("protected")))',),
    "no plt": ("-fno-plt",),
    "relr": ("-Wl,-z,pack-relative-relocs",),
    "no unwind table": ("-fno-asynchronous-unwind-tables",),
    "control-flow protection": ("-fcf-protection=full",),
    "sysv hash": ("-Wl,--hash-style=sysv",),
    "small": ("-Os",),
    "gold": ("-fuse-ld=gold",),
    "lld": ("-fuse-ld=lld",),
}


@pytest.mark.parametrize("kind", LIBRARIES)
def test_every_build_of_a_library_is_swapped_with_its_state(stage: Stage, kind: str) -> None:
    flags = LIBRARIES[kind]
    if kind in ("gold", "lld") and not has(f"ld.{kind}"):
        pytest.skip(f"no ld.{kind}")
    stage.install(stage.build("live/version.c", *flags, version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        assert _all(target) == [1] * 4
        assert _all(target, "count", "count", "method", "callback") == [11, 13, 101, 101]
        # Then the library uses its own object and the program its copy (ld(1) -Bsymbolic).
        copies = (10, 10) if kind == "symbolic" else (13, 14)
        stage.install(stage.build("live/version.c", *flags, version=2))
        stage.moved(target)
        assert _all(target) == [2] * 4
        # A function of four bytes with no padding behind it has no room for a jump.
        callback = 101 if kind == "small" else 201
        assert _all(target, "count", "exported", "method", "callback") == [
            15, copies[0], 201, callback,
        ]  # fmt: skip
        assert isinstance(reverted([target.pid])[0], Moved)
        assert _all(target) == [1] * 4
        assert _all(target, "count", "exported", "method", "callback") == [17, copies[1], 101, 101]


PROGRAMS = {
    "lazy": ("-Wl,-z,lazy",),
    "bind now and full relro": ("-Wl,-z,now,-z,relro",),
    "no relro": ("-Wl,-z,norelro",),
    "not position-independent": ("-no-pie", "-fno-pie"),
    "no plt": ("-fno-plt",),
    "relr": ("-Wl,-z,pack-relative-relocs",),
    "without copy relocations": ("-fPIC", "-pie", "-Wl,-z,nocopyreloc"),
    "static linked libgcc": ("-static-libgcc",),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_every_build_of_a_program_reaches_the_new_library(stage: Stage, kind: str) -> None:
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c", *PROGRAMS[kind])) as target:
        assert _all(target, "count", "exported") == [11, 11]
        stage.install(stage.build("live/version.c", version=2))
        stage.moved(target)
        assert _all(target) == [2] * 4
        assert _all(target, "count", "exported", "pointer") == [13, 12, 2]


def test_a_library_of_clang_is_swapped(stage: Stage) -> None:
    if not has("clang"):
        pytest.skip("no clang")
    stage.install(stage.build("live/version.c", version=1, cc="clang"))
    with stage.running(stage.program("live/driver.c")) as target:
        assert _all(target, "count", "callback") == [11, 101]
        stage.install(stage.build("live/version.c", version=2, cc="clang"))
        stage.moved(target)
        assert _all(target, *ANSWERS, "count", "callback") == [2, 2, 2, 2, 13, 201]


def test_from_one_version_to_the_next_and_round_again(stage: Stage) -> None:
    builds = {v: stage.build("live/version.c", version=v) for v in (1, 2, 3)}
    stage.install(builds[1])
    with stage.running(stage.program("live/driver.c")) as target:
        for count, version in enumerate((2, 3, 1, 3, 2, 1, 2)):
            stage.install(builds[version])
            stage.moved(target, force=version == 1)
            assert _all(target) == [version] * 4
            assert _all(target, "callback", "method") == [1 + 100 * version] * 2
            assert int(target.ask("pointer")) == count
            target.ask("count")
        assert len([m for m in target.modules() if "libversion" in m.path]) == 3


def test_what_is_new_already_is_skipped_and_the_dry_run_touches_nothing(stage: Stage) -> None:
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        assert isinstance(stage.swap(target), Skipped)
        stage.install(stage.build("live/version.c", version=2))
        before = Path(f"/proc/{target.pid}/maps").read_text()
        report = swap_library(Request(stage.place, pids=(target.pid,), dry_run=True))
        planned = report.processes[0].outcome
        assert isinstance(planned, Planned)
        assert planned.outlook.redirects >= 6
        assert {name.rpartition(":")[2] for name in planned.outlook.state} == {
            "hidden_count", "method", "exported_count",
        }  # fmt: skip
        assert sum(planned.outlook.modules.values()) >= 2
        assert Path(f"/proc/{target.pid}/maps").read_text() == before
        assert _all(target) == [1] * 4


@pytest.mark.scenario("series", ("all processes of a service",), live="works")
def test_all_processes_are_moved_and_the_record_tells(stage: Stage) -> None:
    stage.install(stage.build("live/version.c", version=1))
    program, state_dir = stage.program("live/driver.c"), stage.place.parent / "state"
    with stage.running(program) as one, stage.running(program) as two:
        stage.install(stage.build("live/version.c", version=2))
        report = swap_library(Request(stage.place, state_dir=state_dir))
        assert report.exit_code == 0
        kept = state_dir / "live"
        assert len(list(kept.iterdir())) == 2, "kept outside too"
        assert {p.stat().st_mode & 0o777 for p in (state_dir, kept)} == {0o700}
        assert [p.pid for p in report.processes] == [one.pid, two.pid]
        assert all(isinstance(p.outcome, Moved) for p in report.processes)
        assert _all(one) == _all(two) == [2] * 4
        found = {p.pid: p for p in status().processes}
        assert {one.pid, two.pid} <= found.keys()
        (event,) = found[one.pid].events
        assert (event.state, event.library) == ("done", str(stage.place))
        assert not found[one.pid].unfinished
    swap_library(Request(stage.place, state_dir=state_dir))
    assert not list(kept.iterdir()), "of processes that have ended nothing is kept"


def test_a_lost_function_is_refused_while_it_is_used(stage: Stage) -> None:
    both = "int used(void) { return VERSION; }\nint other(void) { return 1; }\n"
    one = "int other(void) { return 2; }\n"
    stage.install(stage.build(both, version=1))
    program = stage.program(
        "#include <stdio.h>\nint used(void), other(void);\nint main(void) { char l[9];"
        ' puts("ready"); fflush(stdout); while (fgets(l, 9, stdin)) { printf("%d\\n",'
        " used() * 10 + other()); fflush(stdout); } }\n",
        "-Wl,-z,now",
    )
    with stage.running(program) as target:
        assert target.ask() == "11"
        stage.install(stage.build(one, version=2))
        assert stage.refused(target).error == "AbiBroken"
        assert "gone-in-use" in stage.refused(target, force=True).reason
        assert target.ask() == "11"


def test_nobody_else_is_touched(stage: Stage) -> None:
    stage.install(stage.build("live/version.c", version=1))
    stage.install(stage.build("live/version.c", version=2))
    report = swap_library(Request(stage.place, pids=(os.getppid(),)))
    assert isinstance(report.processes[0].outcome, (Skipped, Refused))


@pytest.mark.root
def test_who_cannot_be_looked_at_for_want_of_a_capability_is_not_passed_over(
    stage: Stage, state_dir: Path
) -> None:
    stage.install(stage.build("live/version.c", version=1))
    with stage.running(stage.program("live/driver.c")) as target:
        stage.install(stage.build("live/version.c", version=2))
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin,-checkpoint_restore", sys.executable, "-m",
             "libswap", "live", "--json", f"--pid={target.pid}", f"--state-dir={state_dir}",
             str(stage.place)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        (process,) = json.loads(done.stdout)["result"]["processes"]
        assert process["outcome"]["error"] == "ProcessUnreadable", process
        assert done.returncode == 41
        assert _all(target) == [1] * 4
