"""A coroutine that sleeps on a stack of its own, inside an old function, while the swap is made."""

from pathlib import Path

import pytest

from libswap.operations.moves import Moved
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

# The old function is left in its middle, and gone on with when everybody else calls the new one:
# its locals, its callee-saved registers, its own calls and the library's data must be right.
LIBRARY = """
static int calls;
__attribute__((noinline)) int version(void) { return VERSION; }
__attribute__((noinline)) int next(void) { return ++calls * 10 + version(); }
__attribute__((noinline)) int inside(void (*yield)(void), int a, int b) {
    int before = calls * a;
    for (int i = 0; i < 3; i++) { before += b; yield(); }
    return before * 10 + VERSION + next() * 1000;
}
"""
AWAY = "void away(void);\n"
PROGRAM = """
#include <sys/mman.h>
#include <ucontext.h>
#ifdef GUARDED
static char *stack(void)
{
    char *all = mmap(0, 20 << 10, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(all + (4 << 10), 16 << 10, PROT_READ | PROT_WRITE);
    return all + (4 << 10);
}
#else
static char *stack(void) { return malloc(16 << 10); }
#endif
int next(void), inside(void (*)(void), int, int);
static ucontext_t home, coroutine[8];
static int now; static int result[8];
static void yield(void)
{
    swapcontext(&coroutine[now], &home);
    __asm__(""); /* no jump to it, or its context would hold the return address */
}
void away(void) { yield(); }
static void body(void) { result[now] = inside(yield, 7, 3); }
int main(void) {
    next();
    for (now = 0; now < 8; now++) {
        getcontext(&coroutine[now]);
        coroutine[now].uc_stack.ss_sp = stack();
        coroutine[now].uc_stack.ss_size = 16 << 10;
        coroutine[now].uc_link = &home;
        makecontext(&coroutine[now], body, 0);
        swapcontext(&home, &coroutine[now]);
    }
    ready();
    while (asked()) {
        if (strcmp(line, "on")) { answer(next()); continue; }
        for (now = 0; now < 8; now++) if (!result[now]) swapcontext(&home, &coroutine[now]);
        answer(result[0] + result[7]);
    }
}
"""


@pytest.mark.scenario(
    "threads",
    ("coroutines on small heap stacks, or behind guard pages",),
    live="refused: asleep-in-old-code; works with --relaxed",
)
@pytest.mark.parametrize(
    ("left", "stack"),
    [("through a pointer", ""), ("through a slot", ""), ("through a stub", ""),
     ("through a pointer", "-DGUARDED")],
)  # fmt: skip
def test_a_coroutine_inside_an_old_function_goes_on_in_it(
    compiler: Compiler, tmp_path: Path, left: str, stack: str
) -> None:
    stage = Stage(compiler, tmp_path / "libscene.so")
    flags = ("-fno-plt",) if left == "through a slot" else ()
    library = (
        LIBRARY if left == "through a pointer" else AWAY + LIBRARY.replace("yield();", "away();")
    )
    stage.install(stage.build(library, *flags, version=1))
    made = stage.program(
        PROGRAM, *filter(None, [stack]), "-include", str(stage.header), "-rdynamic"
    )
    with stage.running(made) as target:
        assert target.ask() == "21"
        stage.install(stage.build(library, *flags, version=2))
        assert "asleep-in-old-code" in stage.refused(target).reason
        stage.moved(target, relaxed=True)
        assert target.ask() == "32"
        assert target.ask("on") == "0"
        assert target.ask() == "42"
        # Each ends in old code: 1 call before it began, 3 yields, the old VERSION; and what it
        # calls in its library is the new code with the one counter: 5 and 12.
        assert target.ask("on") == "0"
        assert target.ask("on") == str(2 * (7 + 9) * 10 + 2 * 1 + (52 + 122) * 1000)
        assert target.ask() == "132"
        (outcome,) = reverted([target.pid], relaxed=True)
        assert isinstance(outcome, Moved), outcome
        assert target.ask() == "141"
