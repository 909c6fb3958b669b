import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.errors.live import RehearsalFailed
from libswap.linux.tracer import traced
from libswap.live.module import LibraryCache
from libswap.live.rehearsal import copied
from libswap.live.subject import Subject
from libswap.operations.moves import Moved, Outcome, Refused
from libswap.operations.swap import Request, swap_library
from libswap.process.identity import Identity
from support.compiler import Compiler
from support.driven import Target
from support.interruption import interruptions
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

# Version 2 writes down who ran its constructor; version 3 crashes there, version 4 sleeps.
LIBRARY = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int version(void) {
    return VERSION;
}
#if VERSION > 1
__attribute__((constructor)) static void begin(void) {
    char text[32];
    int log = open(getenv("LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(log, text, snprintf(text, sizeof text, "%d\\n", getpid())) < 0) abort();
    close(log);
    if (VERSION == 3) abort();
    if (VERSION == 4) usleep(10000);
}
#endif
"""
# It answers with the version and with what waitpid says of children: it has none.
PROGRAM = """
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
int version(void);
int main(void) {
    char line[9];
    puts("ready");
    for (fflush(stdout); fgets(line, 9, stdin); fflush(stdout)) {
        int got = waitpid(-1, 0, WNOHANG);
        printf("%d %d %d\\n", version(), got, got < 0 ? errno : 0);
    }
}
"""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libversion.so")


@pytest.fixture
def target(stage: Stage, tmp_path: Path) -> Iterator[Target]:
    stage.install(stage.build(LIBRARY, version=1))
    with stage.running(stage.program(PROGRAM), LOG=str(tmp_path / "log")) as found:
        yield found


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def _rehearsed(stage: Stage, target: Target) -> Outcome:
    report = swap_library(Request(stage.place, pids=(target.pid,), rehearse=True))
    return report.processes[0].outcome


@pytest.mark.parametrize("version", [2, 4])
def test_a_copy_goes_first_and_the_process_never_hears_of_it(
    stage: Stage, target: Target, tmp_path: Path, version: int
) -> None:
    stage.install(stage.build(LIBRARY, version=version))
    outcome = _rehearsed(stage, target)
    assert isinstance(outcome, Moved), outcome
    assert outcome.rehearsed
    assert target.ask() == f"{version} -1 {errno.ECHILD}"
    assert len((tmp_path / "log").read_text().splitlines()) == 2, "constructed in both"
    assert not _children(target.pid)


def test_what_crashes_in_the_copy_is_not_tried_in_the_process(
    stage: Stage, target: Target, tmp_path: Path
) -> None:
    stage.install(stage.build(LIBRARY, version=3))
    maps = Path(f"/proc/{target.pid}/maps").read_text()
    outcome = _rehearsed(stage, target)
    assert isinstance(outcome, Refused), outcome
    assert outcome.exit_code == RehearsalFailed.exit_code
    assert "SIGABRT" in outcome.reason
    assert len((tmp_path / "log").read_text().splitlines()) == 1, "constructed in the copy only"
    assert target.ask() == f"1 -1 {errno.ECHILD}"
    assert not _children(target.pid)
    assert Path(f"/proc/{target.pid}/maps").read_text() == maps


def test_a_library_whose_data_lead_to_shared_memory_is_not_rehearsed(stage: Stage) -> None:
    text = """
    #include <sys/mman.h>
    static int *counter;
    int version(void) {
        if (!counter) counter = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
        return VERSION + *counter;
    }
    """
    stage.install(stage.build(text, version=1))
    with stage.running(stage.program(PROGRAM)) as target:
        assert target.ask() == f"1 -1 {errno.ECHILD}"
        stage.install(stage.build(text, version=2))
        outcome = _rehearsed(stage, target)
        assert isinstance(outcome, Refused), outcome
        assert "shared memory" in outcome.reason
        stage.moved(target)
        assert target.ask() == f"2 -1 {errno.ECHILD}"


def test_interrupted_it_leaves_no_copy_behind(target: Target) -> None:
    """Once a copy was there already, and nothing of ours had taken note of it yet."""
    cache = LibraryCache()

    def rehearse() -> None:
        with (
            Subject.open(Identity.of(target.pid), cache) as subject,
            copied(subject, wait=10, work=5),
        ):
            pass

    step, stride = 0, 1 if os.environ.get("LIBSWAP_EVERY_STEP") else 13
    for step in interruptions(lambda: traced(rehearse), stride=stride):
        assert not _children(target.pid), step
        assert target.ask() == f"1 -1 {errno.ECHILD}"
    assert step > 40


def test_the_copy_ends_by_itself_and_its_parent_does_not_see_it(target: Target) -> None:
    """Nobody ends it here: that is what is left when libswap is killed."""
    with Subject.open(Identity.of(target.pid), LibraryCache()) as subject:
        made = copied(subject, wait=5, work=-34)  # so that its sleeps take 1 s
        copy = made.__enter__()
        ended = os.pidfd_open(copy.pid)
        os.set_blocking(ended, False)
        assert target.ask() == f"1 -1 {errno.ECHILD}", "waitpid without __WALL sees no child"
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        assert poll.poll(20_000), "it has ended"
        os.close(ended)
        assert target.ask() == f"1 -1 {errno.ECHILD}"
        made.__exit__(None, None, None)
        assert not _children(target.pid)
