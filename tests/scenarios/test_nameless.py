"""State that no symbol names goes along where the code proves what it is; else nothing is done."""

from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Planned
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

PROGRAM = (
    "int next(void); int version(void);\n"
    "int main(void) { ready(); while (asked()) answer(next() * 10 + version()); }\n"
)
VERSION = "int version(void) { return VERSION; }\n"
SHAPES = {
    "moved": (
        "#if VERSION == 2\nstatic long before[40]; long *more(void) { return before; }\n#endif\n"
        "static int a, b = 3; int next(void) { a += 1; b += 2; return a * 100 + b; }\n"
    ),
    "inserted between": (
        'static int a __attribute__((section(".data.one")));\n'
        "#if VERSION == 2\nstatic int c = 7; int more(void) { return c++; }\n#endif\n"
        "static int b; int next(void) { a += 1; b += 2; return a * 100 + b; }\n"
    ),
    "reordered": (
        "#if VERSION == 1\nstatic int a, b;\n#else\nstatic int b, a;\n#endif\n"
        "static int c[5]; void touch(int *, int *) __attribute__((noinline));\n"
        "void touch(int *x, int *y) { *x += 1; *y += 2; }\n"
        "int next(void) { touch(&a, &b); c[a % 5] += 3; return a * 100 + b + c[1]; }\n"
    ),
    "structure": (
        "#if VERSION == 2\nstatic int first = 1; int more(void) { return first++; }\n#endif\n"
        "static struct { int n; long sum; int *last; } s;\n"
        "int next(void) { s.n++; s.sum += s.n; s.last = &s.n; return *s.last * 100 + s.sum; }\n"
    ),
    "grown, each field proven by itself": (
        "static struct { int a;\n"
        "#if VERSION == 2\nlong more[4];\n#endif\n"
        "int b[7]; } s; int last(void) { return s.b[6]; }\n"
        "__attribute__((noinline)) void fill(int *to, int by)\n"
        "{ for (int i = 0; i < 7; i++) to[i] += by; }\n"
        "int next(void) { s.a++; fill(s.b, 3); return s.a * 100 + s.b[6]; }\n"
    ),
}  # fmt: skip


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def data(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("data", situations, live=live)


def _alone(stage: Stage, library: str, count: int) -> list[int]:
    """What it answers where nothing is exchanged, without the version."""
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        return [int(target.ask()) // 10 for _ in range(count)]


@data("stripped statics: moved, reordered, with neighbours that came in")
@pytest.mark.parametrize("shape", SHAPES)
def test_nameless_state_goes_along_where_the_code_proves_its_place(
    stage: Stage, shape: str
) -> None:
    library = SHAPES[shape] + VERSION
    expected = _alone(stage, library, 6)
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        found = [int(target.ask()), int(target.ask())]
        stage.install(stage.build(library, "-s", version=2))
        moved = stage.moved(target)
        assert moved.outlook.proven.stretches > 0
        assert moved.outlook.proven.witnesses > 0
        found += [int(target.ask()), int(target.ask())]
        (back,) = reverted([target.pid])
        assert isinstance(back, Moved), back
        found += [int(target.ask()), int(target.ask())]
    assert [f // 10 for f in found] == expected
    assert [f % 10 for f in found] == [1, 1, 2, 2, 1, 1]


PADDED = (
    "#include <string.h>\n"
    "static char text[8] __attribute__((aligned(16)));\n"
    "#if VERSION == 2\nstatic char *table; static char row[9] = { 0, 1 };\n#endif\n"
    "static char *p __attribute__((aligned(16)));\n"
    "#if VERSION == 2\n"
    "__attribute__((constructor)) static void fill(void) { table = row; }\n"
    "int used(int i) { return table[i % 9]; }\n"
    "#else\nint used(int i) { return i % 9; }\n#endif\n"
    "static int n; void put(const char *s) { strncpy(text, s, sizeof text); p = text; }\n"
    'int next(void) { n++; put(n % 2 ? "one" : "three");\n'
    "return n * 100 + strlen(p) + used(1); }\n"
)


@data("stripped statics: a variable that came into what was padding, set by a constructor")
def test_what_the_new_version_put_into_padding_keeps_its_own_value(stage: Stage) -> None:
    library = PADDED + VERSION
    expected = _alone(stage, library, 4)
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        found = [int(target.ask()), int(target.ask())]
        stage.install(stage.build(library, "-s", version=2))
        assert stage.moved(target).outlook.proven.stretches > 0
        found += [int(target.ask()), int(target.ask())]
    assert [f // 10 for f in found] == expected
    assert [f % 10 for f in found] == [1, 1, 2, 2]


def _words(stage: Stage, target: Target) -> set[str]:
    """What stands in the way of a swap, as the plan says it."""
    (result,) = swap_library(Request(stage.place, pids=(target.pid,), dry_run=True)).processes
    assert isinstance(result.outcome, Planned)
    return {f.word for f in result.outcome.outlook.findings}


CHANGES = {
    "grown": (
        "struct s { int a;\n"
        "#if VERSION == 2\nlong more[4];\n#endif\n"
        "int b; }; static struct s v;\n"
        "__attribute__((noinline)) void raise(struct s *p) { p->a++; p->b += 3; }\n"
        "__attribute__((noinline)) int told(struct s *p) { return p->a * 100 + p->b; }\n"
        "int next(void) { raise(&v); return told(&v); }\n"
    ),
    "wider": (
        "#if VERSION == 1\nstatic int n;\n#else\nstatic long n;\n#endif\n"
        "int next(void) { n += 1; return n; }\n"
    ),
    "gone": (
        "#if VERSION == 1\nstatic int n; int next(void) { return ++n; }\n"
        "#else\nint next(void) { return 9; }\n#endif\n"
    ),
    "begins otherwise": (
        "static int n = 5 + 3 * VERSION; int next(void) { n += 1; return n; }\n"
    ),
    "used by code of its own": (
        "static int n, m; int next(void) {\n"
        "#if VERSION == 1\nn += 1; m += 2; return n * 100 + m;\n"
        "#else\nm += 7; return m;\n#endif\n}\n"
    ),
}  # fmt: skip


@data(
    "stripped statics: grown, of another type or first value, gone, used otherwise",
    live="refused if they were changed: state-without-names",
)
@pytest.mark.parametrize("change", CHANGES)
def test_nameless_state_that_is_another_thing_is_not_carried(stage: Stage, change: str) -> None:
    library = CHANGES[change] + VERSION
    expected = _alone(stage, library, 3)
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target, stage.running(made) as unused:
        found = [int(target.ask()) // 10, int(target.ask()) // 10]
        stage.install(stage.build(library, "-s", version=2))
        refused = stage.refused(target)
        assert refused.error in ("ObjectsUnsafe", "ObjectsUnknown", "NotSwappable")
        assert "state-without-names" in _words(stage, target)
        found.append(int(target.ask()) // 10)
        stage.moved(unused, accept_unknown=True, force=refused.error == "ObjectsUnsafe")
        assert int(unused.ask()) % 10 == 2
    assert found == expected


CHOSEN = (
    VERSION
    + """
int getpid(void);
static int one(int i) { return i + VERSION; }
static int two(int i) { return i * 3; }
static int (*chosen)(int);
__attribute__((constructor)) static void choose(void) { chosen = getpid() ? one : two; }
#if VERSION == 1
int next(void) { return chosen(40); }
#else
static long before[40] = {7}; long *more(void) { return before; }
int next(void) { return chosen(60) + before[3]; }
#endif
"""
)


@data("a function that each copy's constructor chooses")
def test_what_each_copy_has_chosen_for_itself_is_not_carried(stage: Stage) -> None:
    stage.install(stage.build(CHOSEN, "-s", version=1))
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        assert target.ask() == "411"
        stage.install(stage.build(CHOSEN, "-s", version=2))
        stage.moved(target)
        assert target.ask() == "622"
        (back,) = reverted([target.pid])
        assert isinstance(back, Moved), back
        assert target.ask() == "411"


HOOK = (
    VERSION
    + """
#include <stdlib.h>
static int (*hook)(const char *) = atoi;
#if VERSION == 1
void set(int (*to)(const char *)) { hook = to; }
int next(void) { return hook("41"); }
#else
static long before[40] = {7}; long *more(void) { return before; }
void set(int (*to)(const char *)) { if (before[1] == 0) hook = to ? to : atoi; }
int next(void) { return hook("61") + before[2] * 3; }
#endif
"""
)
HOOKED = """
int next(void); int version(void); void set(int (*)(const char *));
static int mine(const char *text) { return text[0] - '0'; }
int main(int count, char **words)
{
    if (count > 1) set(mine);
    ready();
    while (asked()) answer(next() * 10 + version());
}
"""


@data(
    "a stripped hook that begins with another library's function",
    live="refused if it was changed: state-without-names",
)
def test_a_hook_that_was_set_is_not_lost(stage: Stage) -> None:
    stage.install(stage.build(HOOK, "-s", version=1))
    made = stage.program(HOOKED, "-include", str(stage.header))
    with stage.running(made) as plain, stage.running(made, "set") as hooked:
        assert (plain.ask(), hooked.ask()) == ("411", "41")
        stage.install(stage.build(HOOK, "-s", version=2))
        stage.moved(plain)
        assert "state-without-names" in stage.refused(hooked).reason
        assert (plain.ask(), hooked.ask()) == ("612", "41")


def test_a_field_that_moved_behind_a_pointer_is_seen(stage: Stage) -> None:
    library = VERSION + (
        "struct s { int a;\n"
        "#if VERSION == 1\nint b;\n#else\nlong b;\n#endif\n"
        "} __attribute__((aligned(64))); static struct s v;\n"
        "__attribute__((noinline)) void raise(struct s *p) { p->a++; p->b += 3; }\n"
        "__attribute__((noinline)) int told(struct s *p) { return p->a * 100 + p->b; }\n"
        "int next(void) { raise(&v); return told(&v); }\n"
    )
    expected = _alone(stage, library, 2)
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        found = [int(target.ask()) // 10]
        stage.install(stage.build(library, "-s", version=2))
        assert stage.refused(target).error in ("ObjectsUnsafe", "NotSwappable")
        assert stage.refused(target, accept_unknown=True).error
        found.append(int(target.ask()) // 10)
    assert found == expected


CALLBACKS = (
    "#if VERSION == 2\nstatic long before[9]; long *more(void) { return before; }\n#endif\n"
    "static int count, other; static int (*chosen)(int); static int *last = &count;\n"
    "static int one(int by) { count += by; last = &count; return count; }\n"
    "static int two(int by) { other += by; last = &other; return -other; }\n"
    "typedef int (*call)(int); call handler(int which) { return which ? two : one; }\n"
    "void choose(int which) { chosen = handler(which); }\n"
    "int next(void) { return chosen ? chosen(3) * 100 + *last : 0; }\n"
)
HOLDER = (
    "typedef int (*call)(int); call handler(int); void choose(int); int next(void);"
    " int version(void);\n"
    "int main(void) { call a = handler(0), b = handler(1); choose(1); ready();\n"
    "while (asked()) { int x = a(1), y = b(10); answer((x * 1000 - y) * 10 + version());\n"
    "next(); } }\n"
)


@data("stripped statics: pointers to and from functions without names")
def test_saved_pointers_to_functions_without_names_work_on_the_state(stage: Stage) -> None:
    library = CALLBACKS + VERSION
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program(HOLDER, "-include", str(stage.header))
    with stage.running(made) as alone:
        expected = [int(alone.ask()) // 10 for _ in range(6)]
    with stage.running(made) as target:
        found = [int(target.ask()), int(target.ask())]
        stage.install(stage.build(library, "-s", version=2))
        moved = stage.moved(target, accept_unknown=True)
        assert moved.outlook.proven.functions >= 2
        found += [int(target.ask()), int(target.ask())]
        (back,) = reverted([target.pid])
        assert isinstance(back, Moved), back
        found += [int(target.ask()), int(target.ask())]
    assert [f // 10 for f in found] == expected
    assert [f % 10 for f in found] == [1, 1, 2, 2, 1, 1]
