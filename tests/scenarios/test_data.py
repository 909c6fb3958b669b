"""The library's own data goes with the process, or the swap is refused."""

from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.live.library import Library
from support.compiler import Compiler
from support.swapping import Stage, reverted, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LOOP = "int main(void) { ready(); while (asked()) answer(%s); }\n"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def data(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("data", situations, live=live)


def _before_and_after(
    stage: Stage, library: str, program: str, *flags: str, **options: object
) -> list[str]:
    stage.install(stage.build(library, *flags, version=1))
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        found = [target.ask(), target.ask()]
        stage.install(stage.build(library, *flags, version=2))
        stage.moved(target, **options)
        found.append(target.ask())
        reverted([target.pid], **options)
        return [*found, target.ask()]


@data("static and exported, initialised and zero")
def test_every_kind_of_variable_is_carried(stage: Stage) -> None:
    library = (
        "int exported = 1; int zero; static int hidden = 3; static long big[1000];\n"
        "int next(void) { static int inside = 5; exported++; zero++; hidden++; inside++;"
        " big[999]++; return exported * zero * hidden * inside * big[999]; }\n"
        "int version(void) { return VERSION; }\n"
    )
    assert _before_and_after(stage, library, "int next(void);\n" + LOOP % "next()") == [
        str(n * n * (1 + n) * (3 + n) * (5 + n)) for n in (1, 2, 3, 4)
    ]


@data("buffers of many megabytes")
def test_a_buffer_is_carried_however_large_it_is(stage: Stage) -> None:
    library = (
        "#include <string.h>\nstatic char buffer[20 << 20];\n"
        "int next(void) { if (!buffer[5]) memset(buffer, VERSION, sizeof buffer);"
        " return buffer[sizeof buffer - 1] + ++buffer[77]; }\n"
    )
    found = _before_and_after(stage, library, "int next(void);\n" + LOOP % "next()")
    assert found == ["3", "4", "5", "6"]


@data("pointing at itself (list heads), at other objects, at functions")
def test_pointers_inside_the_data_are_translated(stage: Stage) -> None:
    library = (
        "struct node { struct node *next, *prev; }; static struct node head = {&head, &head};\n"
        "static int store[4], *cursor = store;\n"
        "static int twice(int x) { return x * 2 * VERSION; }\n"
        "static int (*volatile method)(int); struct node one, two;\n"
        "int next(void) { if (!method) { method = twice; one.next = &head; one.prev = &head;"
        " head.next = head.prev = &one; } *cursor++ = 7; int steps = 0;"
        " for (struct node *n = head.next; n != &head && steps < 99; n = n->next) steps++;"
        " return method(1) * 100 + (cursor - store) * 10 + steps; }\n"
    )
    assert _before_and_after(stage, library, "int next(void);\n" + LOOP % "next()") == [
        "211", "221", "431", "241",
    ]  # fmt: skip


@data("const tables", "rodata strings still referenced", "new")
def test_constants_and_values_that_never_changed_are_those_of_the_new_version(stage: Stage) -> None:
    library = (
        "static const int table[] = {VERSION, 2 * VERSION}; const char *name = VERSION == 1 ? "
        '"one" : "twotwo"; static int limit = 100 * VERSION;\n'
        "#if VERSION == 2\nstatic int added = 4;\n#else\nenum { added = 0 };\n#endif\n"
        "const char *kept(void) { return name; }\n"
        "int next(int i) { return table[i & 1] + limit + added * 10000; }\n"
    )
    program = (
        "const char *kept(void); int next(int);\nint main(void) { const char *old = kept();"
        " ready(); while (asked()) answer(next(1) + 1000 * strlen(kept()) + 100000 * strlen(old));"
        " }\n"
    )
    assert _before_and_after(stage, library, program) == ["303102", "303102", "346204", "303102"]


@data("grown", "shrunk", live="refused: state-resized")
def test_an_object_that_changed_its_size_is_refused(stage: Stage) -> None:
    library = "static int v[4 * VERSION];\nint next(void) { return ++v[0]; }\n"
    stage.install(stage.build(library, version=1))
    made = stage.program("int next(void);\n" + LOOP % "next()", "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "1"
        stage.install(stage.build(library, version=2))
        assert "state-resized" in stage.refused(target).reason
        assert "state-resized" in stage.refused(target, force=True).reason
        assert target.ask() == "2"


@data("gone", live="refused if it was changed: state-gone")
def test_an_object_that_is_gone_is_refused_once_it_was_used(stage: Stage) -> None:
    library = (
        "#if VERSION == 1\nstatic int v; int next(void) { return ++v; }\n#else\n"
        "int next(void) { return 9; }\n#endif\n"
    )
    stage.install(stage.build(library, version=1))
    made = stage.program("int next(void);\n" + LOOP % "next()", "-include", str(stage.header))
    with stage.running(made) as unused, stage.running(made) as target:
        assert target.ask() == "1"
        stage.install(stage.build(library, version=2))
        assert "state-gone" in stage.refused(target).reason
        stage.moved(unused)
        assert unused.ask() == "9"
        stage.moved(target, force=True)
        assert target.ask() == "9"


@data("stripped statics", live="refused if they were changed: state-without-names")
def test_nameless_state_is_never_lost_silently(stage: Stage) -> None:
    library = "static int v[9]; static int *p = v; int next(void) { return ++*p * 10 + VERSION; }\n"
    program = "int next(void);\n" + LOOP % "next()"
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as unused, stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(library, "-s", version=2))
        assert "state-without-names" in stage.refused(target).reason
        stage.moved(target, state="carry")
        assert [target.ask(), target.ask()] == ["22", "32"]
        reverted([target.pid], state="carry")
        assert target.ask() == "41"
        stage.moved(target, state="fresh")
        assert target.ask() == "12"
        stage.moved(unused)
        assert unused.ask() == "12"


@data("text that equals an address of the library's")
def test_nothing_follows_what_the_compiler_put_into_the_library(stage: Stage) -> None:
    """A short string over a pointer of long ago can look so; it must stay what it is."""
    library = "static int v[9] = {1}, *p = v; int *next(void) { v[1] = VERSION; return ++*p, p; }\n"
    program = (
        "int *next(void);\nvolatile unsigned long text[2], turned[2]; int *volatile pointer;\n"
        "int main(int count, char **words) {\n"
        "  unsigned long base = (unsigned long)next() - strtoul(words[1], 0, 16);\n"
        "  for (int i = 0; i < 2; i++)\n"
        "    turned[i] = ~(text[i] = base + strtoul(words[2 + i], 0, 16));\n"
        "  pointer = next();\n"
        "  for (ready(); asked();)\n"
        "    answer((text[0] == ~turned[0]) + 2 * (text[1] == ~turned[1])"
        " + 4 * (pointer == next()));\n}\n"
    )
    named = Library(Image(stage.build(library, version=1).read_bytes(), "named")).statics
    places = {s.name.partition(".")[0]: f"{s.value:x}" for s in named}
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program(program, "-include", str(stage.header))
    words = [places[name] for name in ("v", "__dso_handle", "completed")]
    with stage.running(made, *words) as target:
        assert target.ask() == "7"
        stage.install(stage.build(library, "-s", version=2))
        stage.moved(target, state="carry")
        assert target.ask() == "7"
        reverted([target.pid], state="carry")
        assert target.ask() == "7"


@data("stripped statics in another layout", live="refused with --state carry too")
def test_nameless_state_is_not_carried_into_another_layout(stage: Stage) -> None:
    library = (
        "static int more[50 * VERSION], v[9]; static int *p = v;\n"
        "int next(void) { more[3]++; return ++*p * 10 + VERSION; }\n"
    )
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program("int next(void);\n" + LOOP % "next()", "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(library, "-s", version=2))
        assert "state-without-names" in stage.refused(target, state="carry").reason
        assert target.ask() == "21"


CALLBACK = """
struct timer { long (*fire)(struct timer *); long at; };
static long count = 5;
#if VERSION == 1
static long fire(struct timer *t) { return count += t->at; }
#else
static long fire(struct timer *t)
{
    return count = t->at ? count * 3 + t->at % 7 - (t->at ^ count) : t->at * count;
}
#endif
void timer_set(struct timer *t) { t->fire = fire; }
long timer_count(long i) { return VERSION == 1 ? count + i : count * 3 - i; }
"""
CALLS_BACK = """
struct timer { long (*fire)(struct timer *); long at; } t = { 0, 3 };
void timer_set(struct timer *);
long timer_count(long);
int main(void)
{
    for (timer_set(&t), ready(); asked(); answer((int)timer_count(0)))
        if (*line == 'f')
            t.fire(&t);
    return 0;
}
"""


@data("stripped statics that a callback of an object uses", live="refused: state-of-old-code")
def test_data_are_not_carried_away_from_old_code_that_objects_keep(stage: Stage) -> None:
    stage.install(stage.build(CALLBACK, "-s", version=1))
    made = stage.program(CALLS_BACK, "-include", str(stage.header))
    with stage.running(made) as unused, stage.running(made) as target:
        assert target.ask("fire") == "8"
        stage.install(stage.build(CALLBACK, "-s", version=2))
        carry = {"state": "carry", "accept_unknown": True}
        refused = stage.refused(target, **carry)
        assert "state-of-old-code" in refused.reason
        assert "--drain" in refused.instead
        assert target.ask("fire") == "11"
        stage.moved(target, force=True, **carry)
        assert [target.ask(), target.ask("fire")] == ["33", "33"], "one count in each copy"
        stage.moved(unused, **carry)
        assert unused.ask() == "15", "nobody had used what the old code uses"


@data("copy-relocated")
def test_copy_relocated_objects_stay_in_the_program(stage: Stage) -> None:
    library = "int shared = 5;\nint next(void) { return shared++ * 10 + VERSION; }\n"
    program = "extern int shared; int next(void);\n" + LOOP % "(shared += 10, next() + shared)"
    tried(stage, library, "extern int shared; int next(void);\n" + LOOP % "(shared = 3, next())",
          31, 32, link=("-no-pie",))  # fmt: skip
    assert _before_and_after(stage, library, program) == ["167", "288", "410", "530"]


@data("copy-relocated, resized", live="refused: copy-resized")
def test_a_copy_relocated_object_of_another_size_is_refused(stage: Stage) -> None:
    library = "int shared[VERSION] = {5};\nint next(void) { return shared[0]; }\n"
    program = "extern int shared[1]; int next(void);\n" + LOOP % "shared[0] + next()"
    stage.install(stage.build(library, version=1))
    made = stage.program(program, "-include", str(stage.header), "-no-pie")
    with stage.running(made) as target:
        assert target.ask() == "10"
        stage.install(stage.build(library, version=2))
        assert stage.refused(target, force=True).error == "NotSwappable"
        assert target.ask() == "10"


TLS = (
    "static __thread int own = 7; __thread int shown = 1;\n"
    "#if %s\n__thread int more;\n#endif\n"
    "int next(void) { return ++own * 100 + ++shown * 10 + VERSION; }\n"
)
THREADS = (
    "#include <pthread.h>\nint next(void);\nstatic pthread_barrier_t b; static long other;\n"
    "static void *run(void *p) { for (;;) { pthread_barrier_wait(&b); other = next();"
    " pthread_barrier_wait(&b); } }\n"
    "int main(void) { pthread_t t; pthread_barrier_init(&b, 0, 2); pthread_create(&t, 0, run, 0);"
    " ready(); while (asked()) { pthread_barrier_wait(&b); pthread_barrier_wait(&b);"
    " answer(next() * 10000 + other); } }\n"
)


@data("TLS (general, local, initial-exec)")
@pytest.mark.parametrize("model", ["global-dynamic", "local-dynamic", "initial-exec"])
def test_thread_local_variables_stay_with_their_threads(stage: Stage, model: str) -> None:
    found = _before_and_after(stage, TLS % "0", THREADS, f"-ftls-model={model}")
    assert found == ["8210821", "9310931", "10421042", "11511151"]


@data("TLS of another layout", live="refused: tls-layout")
def test_thread_local_variables_of_another_layout_are_refused(stage: Stage) -> None:
    stage.install(stage.build(TLS % "0", version=1))
    made = stage.program(THREADS, "-include", str(stage.header), "-pthread")
    with stage.running(made) as target:
        assert target.ask() == "8210821"
        stage.install(stage.build(TLS % "1", version=2))
        assert "tls-layout" in stage.refused(target, force=True).reason
        assert target.ask() == "9310931"


@data("constructors and destructors: the new one's run once")
def test_what_was_constructed_is_destroyed_once(stage: Stage) -> None:
    library = (
        "#include <unistd.h>\n#include <stdlib.h>\n#include <string>\nstatic char *buffer;\n"
        "static std::string text(50, 'x');\n"
        "__attribute__((constructor)) static void begin() { buffer = (char *)malloc(9); }\n"
        "__attribute__((destructor)) static void end() { char c[] = {'d', '0' + VERSION, '\\n'};"
        " free(buffer); write(1, c, 3); }\n"
        "extern \"C\" int next() { text += 'y'; return text.size() * 10 + VERSION; }\n"
    )
    stage.install(stage.build(library, version=1, cc="c++"))
    made = stage.program(
        'int next(void);\nint main(void) { ready(); while (asked()) { if (!strcmp(line, "end"))'
        " exit(0); answer(next()); } }\n", "-include", str(stage.header),
    )  # fmt: skip
    for reverts in (0, 1, 2):
        stage.install(stage.build(library, version=1, cc="c++"))
        with stage.ending(made, MALLOC_CHECK_="3", MALLOC_PERTURB_="85") as target:
            assert target.ask() == "511"
            stage.install(stage.build(library, version=2, cc="c++"))
            stage.moved(target)
            assert target.ask() == "522"
            if reverts:
                reverted([target.pid])
                assert target.ask() == "531"
            if reverts == 2:
                stage.moved(target)
                assert target.ask() == "542"
            assert target.ask("end") == ("d1" if reverts == 1 else "d2")
            assert target.ended() == (0, "")


@data("pointers to the library's objects kept by the program")
def test_pointers_that_the_program_keeps_follow_the_objects(stage: Stage) -> None:
    library = (
        "struct node { struct node *next; int n; }; static struct node head = {&head, 0};\n"
        "static int counter;\nint *give(void) { return &counter; }\n"
        "struct node *list(void) { return &head; }\n"
        "void add(struct node *n) { n->next = head.next; head.next = n; head.n++; }\n"
        "int next(void) { int s = 0; for (struct node *n = head.next; n != &head && s < 99;"
        " n = n->next) s++; return ++counter * 100 + s * 10 + VERSION; }\n"
    )
    program = (
        "struct node { struct node *next; int n; }; struct node *list(void);\n"
        "int *give(void), next(void); void add(struct node *);\nstatic int *global;\n"
        "int main(void) { struct node *n = calloc(1, sizeof *n), m = {0}; add(n); add(&m);"
        " global = give(); int *volatile stack = give(); struct node *volatile kept = list();"
        " ready(); while (asked()) { ++*global; ++*stack; answer(next() + 100000 * kept->n); } }\n"
    )
    assert _before_and_after(stage, library, program) == ["200321", "200621", "200922", "201221"]


@data("coroutines on small heap stacks", live="refused while one sleeps in the library")
def test_a_coroutine_asleep_in_the_library_is_seen(stage: Stage) -> None:
    library = (
        "static int v;\nint inside(void (*leave)(void)) { v++; leave();"
        " return ++v * 10 + VERSION; }\n"
    )
    program = (
        "#include <ucontext.h>\nint inside(void (*)(void));\nstatic ucontext_t here, there;\n"
        "static int result; static void leave(void) { swapcontext(&there, &here); }\n"
        "static void run(void) { result = inside(leave); }\n"
        "int main(void) { char *stack = malloc(16384); getcontext(&there);"
        " there.uc_stack.ss_sp = stack; there.uc_stack.ss_size = 16384; there.uc_link = &here;"
        " makecontext(&there, run, 0); ready(); while (asked()) { swapcontext(&here, &there);"
        " answer(result); } }\n"
    )
    stage.install(stage.build(library, version=1))
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "0"
        stage.install(stage.build(library, version=2))
        assert "asleep-in-old-code" in stage.refused(target).reason
        assert target.ask() == "21"
