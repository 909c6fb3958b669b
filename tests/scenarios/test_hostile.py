"""Processes that mean harm to whoever changes them: an end in bounded time, with a word."""

from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Refused, Skipped
from libswap.operations.swap import Request, swap_library
from support.command import Libswap
from support.compiler import Compiler
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.timeout(60)]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
INCLUDE = "".join(
    f"#include <{name}.h>\n"
    for name in ("dlfcn", "link", "pthread", "signal", "stdint", "sys/mman", "sys/prctl", "unistd",
                 "sys/wait")
)  # fmt: skip
PROGRAM = INCLUDE + (
    "int next(void);\nHELP\nint main(void) { PRELUDE; ready();"
    " while (asked()) { WHEN_ASKED; answer(next()); } }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def processes(*situations: str, live: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("processes", situations, live=live)


def made(stage: Stage, prelude: str, help_: str = "", when_asked: str = "") -> Path:
    stage.install(stage.build(LIBRARY, version=1))
    text = PROGRAM.replace("HELP", help_).replace("PRELUDE", prelude)
    return stage.program(
        text.replace("WHEN_ASKED", when_asked), "-include", str(stage.header), "-pthread"
    )


BLOCKING = """
static void nothing(int s) { (void)s; }
static void *deaf(void *p) {
    sigset_t all; sigfillset(&all); pthread_sigmask(SIG_SETMASK, &all, 0);
    for (;;) pause();
    return p;
}
"""


@processes("ignoring and blocking every signal", live="works")
def test_one_that_blocks_everything_is_moved(stage: Stage) -> None:
    prelude = (
        "for (int s = 1; s < 65; s++) if (s % 2) signal(s, SIG_IGN); else signal(s, nothing);"
        " pthread_t t; for (int i = 0; i < 4; i++) if (pthread_create(&t, 0, deaf, 0)) return 9;"
        " sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, 0);"
        " prctl(PR_SET_DUMPABLE, 0)"
    )
    program = made(stage, prelude, BLOCKING)
    with stage.running(program) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target, wait=60.0)
        assert target.ask() == "22"


LINKS = """
static struct link_map *first, *last;
static void find(void) {
    first = dlopen(0, RTLD_NOW);
    while (first->l_prev) first = first->l_prev;
    for (last = first; last->l_next; last = last->l_next);
}
static void *flip(void *p) {
    struct link_map *second = first->l_next;
    for (;;) { second->l_prev = (void *)8; second->l_prev = first; }
    return p;
}
"""


@processes("a link map that leads in a circle", live="refused: LinkMapUnreadable")
def test_a_list_that_leads_to_itself_is_refused_and_whole_again_it_is_moved(stage: Stage) -> None:
    turn = (
        'if (!strcmp(line, "circle")) last->l_next = first;'
        ' if (!strcmp(line, "whole")) last->l_next = 0'
    )
    with stage.running(made(stage, "find()", LINKS, turn)) as target:
        assert target.ask("circle") == "11"
        stage.install(stage.build(LIBRARY, version=2))
        assert stage.refused(target, wait=0.5).error == "LinkMapUnreadable"
        assert target.ask("whole") == "21"
        stage.moved(target)
        assert target.ask() == "32"


@processes("writing to its own link map while it is read", live="works, or LinkMapUnreadable")
def test_a_list_that_changes_under_the_reader(stage: Stage) -> None:
    prelude = "find(); pthread_t t; if (pthread_create(&t, 0, flip, 0)) return 9"
    with stage.running(made(stage, prelude, LINKS)) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        outcome = stage.swap(target, wait=2.0)
        if isinstance(outcome, Moved):
            assert target.ask() == "22"
        else:
            assert isinstance(outcome, Refused)
            assert outcome.error == "LinkMapUnreadable"
            assert target.ask() == "21"


UNMAPPING = """
static void *unmap(void *p) {
    static char text[1 << 16];
    for (;;) {
        FILE *maps = fopen("/proc/self/maps", "r");
        unsigned long start, end; char mode[8];
        while (maps && fgets(text, sizeof text, maps))
            if (sscanf(text, "%lx-%lx %7s %*s %*s 0", &start, &end, mode) == 3 && mode[2] == 'x'
                && !strchr(text, '/') && !strchr(text, '['))
                munmap((void *)start, end - start);
        if (maps) fclose(maps);
    }
    return p;
}
"""


@processes("unmapping whatever memory it is given", live="works, refused, or its own end")
def test_one_that_unmaps_our_scratch_memory_harms_itself_alone(stage: Stage) -> None:
    prelude = "pthread_t t; if (pthread_create(&t, 0, unmap, 0)) return 9"
    with stage.ending(made(stage, prelude, UNMAPPING)) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        # Whatever it is, it comes soon: a thread that has no way home was sent there for ever.
        assert isinstance(stage.swap(target, wait=1.0), Moved | Refused | Skipped)


GUARDED = """
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
int main(void) {
    int file = memfd_create("libswap", 0);
    char *p = mmap(0, 1 << 16, 3, MAP_PRIVATE, file, 0);
    int guard = syscall(SYS_userfaultfd, 0);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register all = {{(uintptr_t)p, 1 << 16}, UFFDIO_REGISTER_MODE_MISSING, 0};
    int failed = ftruncate(file, 1 << 16) || ioctl(guard, UFFDIO_API, &api)
        || ioctl(guard, UFFDIO_REGISTER, &all);
    ready();
    while (asked()) answer(failed);
}
"""


@pytest.mark.root
def test_a_record_behind_userfaultfd_is_not_waited_for(stage: Stage, tmp_path: Path) -> None:
    made = stage.compiler.program(INCLUDE + GUARDED, "-include", str(stage.header))
    with stage.running(made) as target:
        if target.ask() != "0":
            pytest.skip("userfaultfd(2) is refused here")
        done = Libswap(tmp_path / "state", patience=40.0)("status", target.pid)
        (found,) = done.document["result"]["processes"]
        assert found["trouble"].endswith("it cannot be read")


STACK = """
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
enum { USED = 1 << 18, SIZE = 1 << 20 };
static int guard, guarded;
static struct uffdio_register whole = {.mode = UFFDIO_REGISTER_MODE_MISSING};
static void *stay(void *p) { for (;;) pause(); return p; }
static void stand(void) {  /* a thread on the lower part of a stack whose upper part is guarded */
    struct uffdio_api api = {.api = UFFD_API};
    char *stack = mmap(0, SIZE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(stack, 0, USED);
    whole.range.start = (uintptr_t)stack, whole.range.len = SIZE;
    guard = syscall(SYS_userfaultfd, 0);
    pthread_attr_t how; pthread_t made;
    guarded = !ioctl(guard, UFFDIO_API, &api) && !ioctl(guard, UFFDIO_REGISTER, &whole);
    if (pthread_attr_init(&how) || pthread_attr_setstack(&how, stack, USED)
        || pthread_create(&made, &how, stay, 0)) _exit(9);
}
"""


@processes("a stack behind userfaultfd", live="refused while it is: CommitBlocked")
@pytest.mark.root
def test_a_stack_behind_userfaultfd_is_not_waited_for(stage: Stage) -> None:
    orders = (
        'if (!strcmp(line, "guarded")) { answer(guarded); continue; }'
        ' if (!strcmp(line, "let go")) ioctl(guard, UFFDIO_UNREGISTER, &whole.range)'
    )
    with stage.running(made(stage, "stand()", STACK, orders)) as target:
        if target.ask("guarded") != "1":
            pytest.skip("userfaultfd(2) is refused here")
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        assert stage.refused(target, wait=0.3).error == "CommitBlocked"
        assert target.ask("let go") == "21"
        stage.moved(target)
        assert target.ask() == "32"


CHAIN = (
    "for (int i = 0; i < 600; i++) { if (i == 1) ready(); usleep(2000); pid_t c = fork();"
    " if (c) _exit(c < 0); } _exit(0)"
)


@processes("forking and ending, so that no PID lasts", live="each is moved, refused or gone")
def test_one_that_is_never_the_same_process_for_long(stage: Stage) -> None:
    with stage.ending(made(stage, CHAIN)):
        stage.install(stage.build(LIBRARY, version=2))
        for _ in range(3):
            report = swap_library(Request(stage.place))
            assert all(p.pid > 0 and p.outcome is not None for p in report.processes)
