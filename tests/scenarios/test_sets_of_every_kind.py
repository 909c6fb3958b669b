"""Libraries moved together that are harder than most, and by every option of `libswap live`."""

from pathlib import Path

import pytest

from libswap.live.unloading import Kept, Unloaded
from libswap.operations.draining import DrainOptions
from libswap.operations.moves import Moved, ProcessResult, Refused
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

# Each library has variables of its own for every thread, and a function that it chooses at the
# start; the upper one reaches those of the lower one in every way there is.
LOWER = """
__thread int low_shared = 5;
static __thread int low_own = 1;
int low_next(void) { return ++low_own * 10 + VERSION; }
static int picked(void) { return VERSION; }
static int (*pick(void))(void) { return picked; }
int low_picked(void) __attribute__((ifunc("pick")));
"""
UPPER = """
extern __thread int low_shared;
static __thread int up_own = 1;
int low_next(void), low_picked(void);
static int (*kept)(void);
int up_next(void) { return ++up_own * 10 + VERSION; }
int up_low(void) { return low_next(); }
int up_shared(void) { return low_shared += 2; }
static int picked(void) { if (!kept) kept = low_picked; return VERSION * 10 + kept(); }
static int (*pick(void))(void) { return picked; }
int up_picked(void) __attribute__((ifunc("pick")));
"""
# Two threads answer, for each has variables of its own.
PROGRAM = """
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
int up_next(void), up_low(void), up_shared(void), up_picked(void);
static pthread_barrier_t turn;
static char other[99];
static void all(char *text) {
    snprintf(text, 99, "%d %d %d %d", up_next(), up_low(), up_shared(), up_picked());
}
static void *work(void *p) {
    for (;;) { pthread_barrier_wait(&turn); all(other); pthread_barrier_wait(&turn); }
    return p;
}
int main(int count, char **words) {
    char own[99];
    pthread_t t;
    if (count > 1 && (unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)
                      || mount("none", words[1], "tmpfs", 0, 0))) return 8;
    pthread_barrier_init(&turn, 0, 2);
    if (pthread_create(&t, 0, work, 0)) return 9;
    ready();
    while (asked()) {
        pthread_barrier_wait(&turn);
        pthread_barrier_wait(&turn);
        all(own);
        printf("%s; %s\\n", own, other);
        fflush(stdout);
    }
}
"""


def together(situation: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario(
        "loading", (f"several libraries in one commit: {situation}",), live=live
    )


class Pair:
    """Two libraries in one directory, of which one uses the other."""

    def __init__(self, compiler: Compiler, place: Path) -> None:
        place.mkdir()
        self.lower = Stage(compiler, place / "liblower.so")
        self.upper = Stage(compiler, place / "libupper.so")

    def install(self, version: int, *flags: str) -> None:
        lower = self.lower.build(LOWER, *flags, version=version)
        self.lower.install(lower)
        beside = f"-Wl,-rpath,{self.lower.place.parent}"
        self.upper.install(self.upper.build(UPPER, *flags, str(lower), beside, version=version))

    def program(self) -> Path:
        header = ("-include", str(self.upper.header))
        return self.upper.program(PROGRAM, *header, str(self.lower.place), "-pthread")

    def swap(self, target: Target, **how: object) -> list[ProcessResult]:
        more = ((self.lower.place, None),)
        request = Request(self.upper.place, pids=(target.pid,), more=more, **how)  # type: ignore[arg-type]
        return list(swap_library(request).processes)

    def moved(self, target: Target, **how: object) -> list[ProcessResult]:
        """Both, in one commit."""
        results = self.swap(target, **how)
        assert len({r.outcome.id for r in results if isinstance(r.outcome, Moved)}) == 1, results
        assert len(results) == 2, results
        return results


@pytest.fixture
def pair(compiler: Compiler, tmp_path: Path) -> Pair:
    return Pair(compiler, tmp_path / "pair")


def serves(target: Target, turn: int, version: int) -> None:
    """Both threads count on, whatever has answered before."""
    count = (turn + 1) * 10 + version
    one = f"{count} {count} {5 + 2 * turn} {version * 11}"
    assert target.ask() == f"{one}; {one}"


@together("with thread-local variables of both, one reached from the other")
@together("with indirect functions (IFUNC), one kept by the other")
@together("--rehearse")
@pytest.mark.parametrize("rehearse", [False, True], ids=["at once", "rehearsed"])
def test_thread_local_variables_and_indirect_functions(pair: Pair, rehearse: bool) -> None:  # noqa: FBT001
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        serves(target, 1, 1)
        pair.install(2)
        for result in pair.moved(target, rehearse=rehearse):
            assert isinstance(result.outcome, Moved)
            assert result.outcome.rehearsed == rehearse
        serves(target, 2, 2)
        assert all(isinstance(o, Moved) for o in reverted([target.pid]))
        serves(target, 3, 1)


@together("of a process in a mount namespace that has none of the files")
@pytest.mark.root
@pytest.mark.namespaces
def test_a_process_that_sees_none_of_the_files(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program(), str(pair.upper.place.parent)) as target:
        serves(target, 1, 1)
        pair.install(2)
        pair.moved(target)
        serves(target, 2, 2)


@together("--unload")
def test_the_copies_that_are_not_in_use_are_unloaded(pair: Pair) -> None:
    alone = "-D__thread="  # what has thread-local variables stays
    pair.install(1, alone)
    with pair.upper.running(pair.program()) as target:
        for version in (2, 3):
            assert target.ask().endswith(f" {11 * (version - 1)}")
            pair.install(version, alone)
            results = pair.moved(target, unload=True)
        assert target.ask().endswith(" 33")
        copies = [copy for result in results for copy in result.copies]
        # The program itself holds the first ones; the second ones are ours.
        kinds = sorted(type(copy).__name__ for copy in copies)
        assert kinds == [Kept.__name__] * 2 + [Unloaded.__name__] * 2, copies


@together("--drain", live="refused: drain-set")
def test_several_are_not_drained_together(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        serves(target, 1, 1)
        pair.install(2)
        for result in pair.swap(target, drain=DrainOptions()):
            assert isinstance(result.outcome, Refused)
            assert "which copy made those is not known" in result.outcome.reason
        serves(target, 2, 1)
