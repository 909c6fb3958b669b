"""Many processes, and several libswaps at work on one file."""

import os
from pathlib import Path
from typing import Final

import pytest

from libswap.errors.install import DestinationChanged
from support.command import Libswap
from support.compiler import Compiler
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.slow]

CROWD: Final = int(os.environ.get("LIBSWAP_CROWD", "200"))
LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
# As many children as were asked for, each of which calls for a while and ends; another one takes
# its place. Whoever ends otherwise than by itself is counted.
PROGRAM = """
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int next(void);
static void live(int turns) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1, was = next() / 10; i < turns; i++) {
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, 0);
        int now = next() / 10;
        if (now != was + 1) _exit(1);
        was = now;
    }
    _exit(0);
}
int main(int count, char **words) {
    int number = atoi(words[1]), born = 0, hurt = 0, status;
    struct pollfd questions = {0, POLLIN, 0};
    (void)count;
    for (; born < number; born++) if (!fork()) live(50 + born % 400);
    ready();
    for (;;) {
        while (waitpid(-1, &status, WNOHANG) > 0) {
            hurt += status != 0;
            if (!fork()) live(50 + born % 400);
            born++;
        }
        if (poll(&questions, 1, 5) <= 0) continue;
        if (!asked()) return 0;
        answer(!strcmp(line, "hurt") ? hurt : !strcmp(line, "born") ? born : next());
    }
}
"""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


@pytest.mark.scenario("series", ("insert while 1,000 processes come and go",), live="works")
@pytest.mark.alone
def test_while_processes_come_and_go(stage: Stage, tmp_path: Path) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made, str(CROWD)) as target:
        assert target.ask() == "11"
        before = int(target.ask("born"))
        stage.install(stage.build(LIBRARY, version=2))
        libswap = Libswap(tmp_path / "state", patience=110.0)
        moved = libswap("live", stage.place, "--all", "--wait=20")
        assert moved.code == 0, moved
        kinds = [p["outcome"]["kind"] for p in moved.document["result"]["processes"]]
        assert set(kinds) <= {"Moved", "Skipped"}, moved
        assert kinds.count("Moved") > 1, "the parent and some of its children"
        assert target.ask() == "22"
        assert int(target.ask("born")) > before, "none came while the run was on"
        again = libswap("live", stage.place, "--all")
        left = {p["outcome"]["kind"] for p in again.document["result"]["processes"]}
        assert (again.code, left - {"Skipped"}) == (0, set()), again
        assert target.ask("hurt") == "0"


@pytest.mark.scenario(
    "tool",
    ("two tools at once on one file",),
    live="works; the later one may be refused: DestinationChanged",
)
def test_two_that_replace_one_file_and_move_its_process(stage: Stage, tmp_path: Path) -> None:
    builds = {v: stage.build(LIBRARY, version=v) for v in (1, 2, 3)}
    stage.install(builds[1])
    made = stage.program(
        "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n",
        "-include", str(stage.header),
    )  # fmt: skip
    libswap = Libswap(tmp_path / "state")
    with stage.running(made) as one, stage.running(made) as two:
        assert (one.ask(), two.ask()) == ("11", "11")
        runs = [libswap.start("install", builds[v], stage.place, "--live", "--yes") for v in (2, 3)]
        runs.append(libswap.start("live", stage.place))
        said = [run.communicate(timeout=60)[0] for run in runs]
        codes = [run.returncode for run in runs]
        # Who had made his plan before the other was done is told so, and has changed nothing.
        assert codes.count(0) >= 2, said
        assert set(codes) <= {0, DestinationChanged.exit_code}, said
        last = libswap("live", stage.place)
        assert last.code == 0, last
        (version,) = [v for v, build in builds.items()
                      if build.read_bytes() == stage.place.read_bytes()]  # fmt: skip
        assert version in (2, 3)
        assert (one.ask(), two.ask()) == (f"2{version}", f"2{version}")
        told = libswap("history").document["result"]["operations"]
        assert [o["outcome"] for o in told].count("done") == codes[:2].count(0)
