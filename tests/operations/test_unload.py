from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.live.unloading import Kept, Unloaded
from libswap.operations.moves import Moved, Refused
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = """
static int state = 5;
int version(void) {
    return VERSION;
}
int *keep(void) {
    return &state;
}
static int step(int x) {
    return x + 100 * VERSION + state;
}
int (*callback(void))(int) {
    return step;
}
"""
# What is asked of it says where a pointer into the library is put: on the heap one byte beside a
# word, into the kernel, or nowhere.
PROGRAM = """
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
int version(void), (*callback(void))(int);
static char *heap;
static void *opened;
static int use(int what) {
    int (*p)(int) = 0, pipes[2];
    struct epoll_event event = {.events = EPOLLIN};
    switch (what) {
    case 'h':
        p = callback();
        memcpy(heap + 1, &p, sizeof p);
        return 0;
    case 's':
        signal(SIGUSR1, (void (*)(int))callback());
        return 0;
    case 'e':
        event.data.ptr = (void *)callback();
        return pipe(pipes) || epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, pipes[0], &event);
    case 'c':
        memcpy(&p, heap + 1, sizeof p);
        return p(1);
    case 'o':
        opened = dlopen(getenv("ANOTHER_SPELLING"), RTLD_NOW);
        return !opened;
    case 'x':
        return dlclose(opened);
    case 'f':
        memset(heap, 0, 64);
        return 0;
    }
    return version();
}
static int (*volatile indirectly)(int) = use;
int main(void) {
    char line[64];
    heap = malloc(64);
    puts("ready");
    for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout))
        printf("%d\\n", indirectly(*line));
}
"""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libversion.so")


@pytest.fixture
def target(stage: Stage) -> Iterator[Target]:
    """On the second version."""
    stage.install(stage.build(LIBRARY, version=1))
    spelled = f"{stage.place.parent}/./{stage.place.name}"
    with stage.running(stage.program(PROGRAM), ANOTHER_SPELLING=spelled) as found:
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(found)
        assert found.ask() == "2"
        yield found


def _moved(stage: Stage, target: Target) -> tuple[Unloaded | Kept, ...]:
    """Onto what is installed, unloading what can be."""
    report = swap_library(Request(stage.place, pids=(target.pid,), unload=True))
    (result,) = report.processes
    assert not isinstance(result.outcome, Refused), result
    return result.copies


def _loaded(target: Target) -> int:
    return sum("libversion" in module.path for module in target.modules())


def test_a_copy_that_nothing_reaches_goes_and_the_first_stays(stage: Stage, target: Target) -> None:
    stage.install(stage.build(LIBRARY, version=3))
    first, second = _moved(stage, target)
    assert isinstance(first, Kept)
    assert "the program loaded it" in first.reasons[0]
    assert isinstance(second, Unloaded), second
    assert _loaded(target) == 2
    assert target.ask() == "3"
    (outcome,) = reverted([target.pid])
    assert isinstance(outcome, Refused)
    assert "no longer loaded" in outcome.reason
    stage.install(stage.build(LIBRARY, version=2))
    assert isinstance(stage.moved(target), Moved)
    assert target.ask() == "2"
    assert isinstance(reverted([target.pid])[0], Moved)
    assert target.ask() == "3"


@pytest.mark.parametrize(
    ("where", "said"), [("h", "the word at"), ("s", "signal 10"), ("e", "an epoll instance")]
)
def test_what_still_reaches_a_copy_is_named_and_keeps_it(
    stage: Stage, target: Target, where: str, said: str
) -> None:
    target.ask(where)
    stage.install(stage.build(LIBRARY, version=3))
    _, second = _moved(stage, target)
    assert isinstance(second, Kept), second
    assert said in second.reasons[0]
    assert _loaded(target) == 3
    assert target.ask() == "3"
    if where == "h":
        assert target.ask("c") == str(1 + 300 + 5), "an entry that leads on"
        target.ask("f")
        assert isinstance(_moved(stage, target)[1], Unloaded)
        assert target.ask() == "3"


@pytest.mark.parametrize("closes", [True, False])
def test_a_copy_that_the_program_opened_too_stays_until_it_closes_it(
    stage: Stage, target: Target, *, closes: bool
) -> None:
    assert target.ask("o") == "0"
    stage.install(stage.build(LIBRARY, version=3))
    _, second = _moved(stage, target)
    assert isinstance(second, Kept), second
    assert second.reasons == ("the program has opened it too, and holds it",)
    assert _loaded(target) == 3
    if closes:
        assert target.ask("x") == "0"
        assert isinstance(_moved(stage, target)[1], Unloaded)
        assert target.ask() == "3"
    else:
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "2"
        assert isinstance(_moved(stage, target)[1], Kept)
        assert target.ask() == "3"


def test_the_copy_that_the_program_loaded_itself_stays_after_every_way_back(
    stage: Stage, target: Target
) -> None:
    assert isinstance(reverted([target.pid])[0], Moved)
    for version in (3, 2):
        stage.install(stage.build(LIBRARY, version=version))
        (first, *_) = _moved(stage, target)
        assert isinstance(first, Kept)
        assert "the program loaded it" in first.reasons[0]
        assert target.ask() == str(version)


def test_rounds_that_unload_take_no_more_mappings(stage: Stage, target: Target) -> None:
    counts = set()
    for _ in range(5):
        for version in (3, 2):
            stage.install(stage.build(LIBRARY, version=version))
            copies = _moved(stage, target)
            assert [c for c in copies if isinstance(c, Unloaded)], copies
            assert target.ask() == str(version)
        counts.add(len(Path(f"/proc/{target.pid}/maps").read_text().splitlines()))
    assert len(counts) == 1
