"""What a program does by itself after a swap: leaving, jumping back, throwing, old handlers."""

import signal
from pathlib import Path

import pytest

from libswap.operations.moves import Moved
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

COUNTING = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def afterwards(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("afterwards", situations, live=live)


ENDINGS = (
    "#include <stdio.h>\n#include <stdlib.h>\nstatic int n;\n"
    'static void bye(void) { printf("atexit %d %d\\n", VERSION, n); fflush(stdout); }\n'
    "__attribute__((constructor)) static void begin(void) { atexit(bye); }\n"
    '__attribute__((destructor)) static void end(void) { printf("end %d %d\\n", VERSION, n);'
    " fflush(stdout); }\nint next(void) { return ++n * 10 + VERSION; }\n"
)
LEAVING = (
    "#include <unistd.h>\nint next(void);\nint main(int c, char **v) { ready(); while (asked()) {"
    ' if (!strcmp(line, "exit")) exit(7);'
    ' if (!strcmp(line, "exec")) execl("/proc/self/exe", v[0], (char *)0);'
    " answer(next()); } }\n"
)


@afterwards("exit(): destructors of the library in use")
@afterwards("exit(): atexit handlers that a constructor registers")
@pytest.mark.parametrize("way", ["12", "123", "121", "1213", "12121"])
def test_at_exit_the_copy_in_use_ends_once(stage: Stage, way: str) -> None:
    stage.install(stage.build(ENDINGS, version=1))
    made = stage.program(LEAVING, "-include", str(stage.header))
    with stage.ending(made) as target:
        for count, version in enumerate(way, 1):
            stage.install(stage.build(ENDINGS, version=int(version)))
            if count > 1:
                stage.moved(target)
            assert target.ask() == f"{count}{version}"
        assert target.process.stdin is not None
        target.process.stdin.write(b"exit\n")
        target.process.stdin.flush()
        code, said = target.ended()
        assert code == 7
        last = f"{way[-1]} {len(way)}\n"
        assert sorted(said.splitlines(keepends=True)) == [f"atexit {last}", f"end {last}"]


@afterwards("exit(): handlers that only one version registers, or each with an argument of its own")
def test_handlers_that_are_not_the_same_all_run(stage: Stage) -> None:
    library = (
        "#include <stdio.h>\n#include <stdlib.h>\nextern void *__dso_handle;\n"
        "int __cxa_atexit(void (*)(void *), void *, void *);\nstatic int n, *mine;\n"
        'static void say(const char *s) { printf("%s %d\\n", s, VERSION); fflush(stdout); }\n'
        'static void only(void) { say("only"); }\n'
        'static void each(void *p) { say(p == mine ? "mine" : "other"); }\n'
        "__attribute__((constructor)) static void begin(void) {\n"
        "  if (VERSION == 2) atexit(only);\n"
        "  mine = malloc(4); __cxa_atexit(each, mine, &__dso_handle);\n}\n"
        "int next(void) { if (VERSION == 2) atexit(only); return ++n * 10 + VERSION; }\n"
    )
    stage.install(stage.build(library, version=1))
    made = stage.program(LEAVING, "-include", str(stage.header))
    with stage.ending(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(library, version=2))
        stage.moved(target)
        assert target.ask() == "22"
        assert target.process.stdin is not None
        target.process.stdin.write(b"exit\n")
        target.process.stdin.flush()
        _, said = target.ended()
        assert sorted(said.splitlines()) == ["mine 2", "only 2", "only 2", "other 2"]


@afterwards("execve()")
def test_after_an_exec_the_new_library_is_an_ordinary_one(stage: Stage) -> None:
    stage.install(stage.build(COUNTING, version=1))
    made = stage.program(LEAVING, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(COUNTING, version=2))
        stage.moved(target)
        assert target.ask("exec") == "ready"
        assert target.ask() == "12"
        stage.install(stage.build(COUNTING, version=1))
        stage.moved(target)
        assert target.ask() == "21"


JUMPING = (
    "#include <setjmp.h>\nstatic int n;\nint (*kept)(int);\n"
    "int run(int (*work)(void *), jmp_buf *b) { int times = ++n;\n"
    " return setjmp(*b) ? times * 100 + n * 10 + VERSION : work(b); }\n"
    "int next(void) { return ++n * 10 + VERSION; }\n"
)
JUMPER = (
    "#include <setjmp.h>\nint run(int (*)(void *), jmp_buf *), next(void);\njmp_buf b;\n"
    "static int wait(void *p) { for (;;) { if (!asked()) exit(0);"
    ' if (!strcmp(line, "jump")) longjmp(*(jmp_buf *)p, 1); answer(next()); } }\n'
    "int main(void) { ready(); for (;;) answer(run(wait, &b)); }\n"
)


@afterwards("longjmp into a frame of old code")
def test_a_jump_back_into_a_frame_of_old_code(stage: Stage) -> None:
    stage.install(stage.build(JUMPING, version=1))
    made = stage.program(JUMPER, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "21"
        stage.install(stage.build(JUMPING, version=2))
        stage.moved(target, relaxed=True)
        assert target.ask() == "32"
        # The frame is the old code's, and the old code ends it, with the data as it was left there.
        answer = target.ask("jump")
        assert answer.endswith("1")
        assert answer.startswith("1")
        assert target.ask().endswith("2"), "and the next call is new"
        assert target.ask("jump").endswith("2")


THROWING = (
    '#include <stdexcept>\n#include <string>\nstatic int n;\nextern "C" int next(void);\n'
    'extern "C" int deep(int (*f)(int)) { try { return f(VERSION); }'
    " catch (int e) { throw std::runtime_error(std::to_string(e * 10 + VERSION)); } }\n"
    'extern "C" int next(void) { return ++n * 10 + VERSION; }\n'
)
CATCHING = (
    '#include <stdexcept>\n#include <string>\nextern "C" int deep(int (*)(int));\n'
    "static int fail(int v) { throw 4 + v; }\n"
    "int main() { ready(); while (asked()) { try { deep(fail); answer(0); }"
    " catch (std::runtime_error &e) { answer(std::stoi(e.what())); } } }\n"
)


@afterwards("C++ exceptions through the library, out of it, and caught by their type")
def test_exceptions_cross_the_boundary(stage: Stage) -> None:
    stage.install(stage.build(THROWING, version=1, cc="c++"))
    made = stage.program(CATCHING, "-include", str(stage.header), cc="c++")
    with stage.running(made) as target:
        assert target.ask() == "51"
        stage.install(stage.build(THROWING, version=2, cc="c++"))
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["62", "62"]
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "51"


HANDLING = (
    "#include <pthread.h>\n#include <signal.h>\nstatic int n, ended;\nstatic pthread_key_t key;\n"
    "static void handler(int s) { n += 100; }\n"
    "static void at_end(void *p) { ended += VERSION; }\n"
    "void begin(void) { signal(SIGUSR1, handler); pthread_key_create(&key, at_end); }\n"
    "void mark(void) { pthread_setspecific(key, &n); }\n"
    "int next(void) { return ++n * 10 + VERSION; }\nint ends(void) { return ended; }\n"
)
HANDLED = (
    "#include <pthread.h>\n#include <semaphore.h>\nvoid begin(void), mark(void);\n"
    "int next(void), ends(void);\nstatic sem_t go;\n"
    "static void *work(void *p) { mark(); sem_post(p); sem_wait(&go); return 0; }\n"
    "int main(void) { begin(); sem_t there; sem_init(&there, 0, 0); pthread_t t;"
    " pthread_create(&t, 0, work, &there); sem_wait(&there); ready(); while (asked()) {"
    ' if (!strcmp(line, "ends")) { sem_post(&go); pthread_join(t, 0); answer(ends()); }'
    ' else if (!strcmp(line, "raise")) { raise(SIGUSR1); answer(next()); }'
    " else answer(next()); } }\n"
)


@afterwards("signal handler in old code", "pthread_key destructor in old code")
def test_handlers_that_were_registered_before(stage: Stage) -> None:
    stage.install(stage.build(HANDLING, version=1))
    made = stage.program(
        HANDLED, "-include", "signal.h", "-include", str(stage.header), "-pthread",
    )  # fmt: skip
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(HANDLING, version=2))
        stage.moved(target)
        assert target.ask() == "22"
        assert target.ask("raise") == str((2 + 100 + 1) * 10 + 2), "it counts where all count"
        assert target.ask("ends") == "2", "the thread's value was given to the new code"
        target.process.send_signal(signal.SIGUSR1)
        assert target.ask() in (str(204 * 10 + 2), str(104 * 10 + 2))


REVERTED = (
    "#include <unistd.h>\nint next(void);\nint main(void) { ready(); while (asked()) {"
    ' if (!strcmp(line, "fork")) { int in[2], out[2]; if (pipe(in) || pipe(out)) return 9;'
    " int child = fork(); if (!child) { char c; while (read(in[0], &c, 1) == 1) { int v = next();"
    " if (write(out[1], &v, sizeof v) != sizeof v) break; } _exit(0); }"
    ' answer(child); while (asked() && strcmp(line, "back")) { int v; if (write(in[1], "", 1) != 1'
    " || read(out[0], &v, sizeof v) != sizeof v) return 8; answer(v); } }"
    " answer(next()); } }\n"
)


@afterwards("fork, then revert in the child only")
def test_a_child_alone_goes_back(stage: Stage) -> None:
    stage.install(stage.build(COUNTING, version=1))
    made = stage.program(REVERTED, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(COUNTING, version=2))
        stage.moved(target)
        child = int(target.ask("fork"))
        assert target.ask() == "22", "the child's count"
        assert isinstance(reverted([child])[0], Moved)
        assert target.ask() == "31", "the child has gone back"
        assert target.ask("back") == "22", "the parent has not"
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "31"
