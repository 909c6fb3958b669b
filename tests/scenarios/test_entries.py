"""Entries of every shape: what is called through slots, and through pointers kept from before."""

from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from support.compiler import Compiler, has
from support.swapping import Stage, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def entries(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("entries", situations, live=live)


NAMES = [f"f{size}" for size in range(3, 15)]
SIZED = "#define STRING(x) #x\n#define TEXT(x) STRING(x)\n" + "".join(
    f'__asm__(".text\\n" ALIGNED ".globl {name}\\n.type {name},@function\\n{name}: mov $"'
    f' TEXT(VERSION) ", %al\\n.skip {size - 3}, 0x90\\nret\\n.size {name}, . - {name}\\n");\n'
    for size, name in enumerate(NAMES, 3)
)
ASKING = (
    "typedef int call(void);\n" + "".join(f"call {name};\n" for name in NAMES)
    + f"static call *kept[] = {{{', '.join(NAMES)}}};\n"
    "int main(void) { ready(); while (asked()) { int slots = 0, pointers = 0;\n"
    + "".join(f"slots += ({name}() & 0xff) == 2;\n" for name in NAMES)
    + f"for (int i = 0; i < {len(NAMES)}; i++) pointers += (kept[i]() & 0xff) == 2;\n"
    "answer(slots * 100 + pointers); } }\n"
)  # fmt: skip


@entries("function of 1 to 14 bytes")
def test_functions_of_every_size_with_padding_behind_them(stage: Stage) -> None:
    tried(stage, SIZED, ASKING, 0, 1212, '-DALIGNED=".p2align 4\\n"')


@entries(
    "function of 1 to 4 bytes with the next one right behind it",
    live="works; by a pointer kept in an unknown place the old one runs, which is noted",
)
def test_functions_of_every_size_without_padding(stage: Stage) -> None:
    scrambled = ASKING.replace(
        "int main(void) {", "int main(void) { for (int i = 0; i < 12; i++)"
        " kept[i] = (call *)~(unsigned long)kept[i];"
    ).replace("kept[i]()", "((call *)~(unsigned long)kept[i])()")  # fmt: skip
    tried(stage, SIZED, scrambled, 0, 1210, '-DALIGNED=""')


COUNTING = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
PROGRAM = (
    "int next(void);\nint (*kept)(void) = next;\n"
    "int main(void) { ready(); while (asked()) answer(kept()); }\n"
)


@entries("endbr64 first")
def test_an_entry_that_begins_with_endbr64(stage: Stage) -> None:
    source = "int next(void) { return 10 + VERSION; }\n"
    tried(stage, source, PROGRAM, 11, 12, "-fcf-protection=full")


@entries("several names for one address")
def test_two_names_of_one_function(stage: Stage) -> None:
    source = (
        'int next(void) { return 10 + VERSION; }\nint also(void) __attribute__((alias("next")));\n'
    )
    program = PROGRAM.replace("kept()", "kept() * 100 + also()").replace(
        "int next(void);", "int next(void), also(void);"
    )
    tried(stage, source, program, 1111, 1212)


@entries("cold parts split off")
def test_a_function_with_a_part_elsewhere(stage: Stage) -> None:
    source = (
        "#include <stdlib.h>\n__attribute__((cold, noinline)) static int rare(int n) { return n"
        " * 100 + VERSION; }\nint next(void) { static int n; if (__builtin_expect(++n % 2 == 0, 0))"
        " { if (n > 1000) abort(); return rare(n); } return n * 10 + VERSION; }\n"
    )
    stage.install(stage.build(source, "-freorder-blocks-and-partition", version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        assert [target.ask(), target.ask()] == ["11", "201"]
        stage.install(stage.build(source, "-freorder-blocks-and-partition", version=2))
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["32", "402"]


@entries("two functions folded into one", live="refused: folded; works where only the new are")
@pytest.mark.skipif(not has("ld.lld"), reason="ld.lld is not installed")
def test_functions_that_the_linker_folded(stage: Stage) -> None:
    def source(first: str, second: str) -> str:
        return f"int next(void) {{ return {first}; }}\nint other(void) {{ return {second}; }}\n"

    program = (
        "int next(void), other(void);\nint (*a)(void) = next, (*b)(void) = other;\n"
        "int main(void) { ready(); while (asked()) answer(a() * 100 + b()); }\n"
    )
    flags = ("-fuse-ld=lld", "-ffunction-sections", "-Wl,--icf=all")
    apart = stage.build(source("11", "12"), *flags, version=1)
    folded = stage.build(source("21", "21"), *flags, version=2)
    stage.install(apart)
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "1112"
        stage.install(folded)
        stage.moved(target)
        assert target.ask() == "2121"
    with stage.running(made) as target:
        stage.install(apart)
        assert "folded" in stage.refused(target).reason
        assert target.ask() == "2121"


STRINGS = "#define STRING(x) #x\n#define TEXT(x) STRING(x)\n"


def in_assembly(code: str) -> str:
    """A function `next` of this code, in which VERSION is an immediate."""
    text = code.replace("VERSION", '$" TEXT(VERSION) "').replace("\n", "\\n")
    return (
        f'{STRINGS}__asm__(".text\\n.globl next\\n.type next,@function\\n{text}\\n'
        '.size next, . - next\\n");\nint other(void) { return VERSION; }\n'
    )


SHAPES = {
    "loop head inside the first bytes": "next: dec %edi\njnz next\nmov VERSION, %eax\nret",
    "a jump into the first bytes":
        "next: xor %eax, %eax\n1: inc %eax\ncmp VERSION, %eax\njne 1b\nret",
}  # fmt: skip
CALLING = "int next(int);\nint main(void) { ready(); while (asked()) answer(next(9)); }\n"


@entries(*SHAPES, live="works; nobody may be inside, with --relaxed too")
@pytest.mark.parametrize("shape", SHAPES)
def test_code_that_jumps_back_to_its_entry(stage: Stage, shape: str) -> None:
    tried(stage, in_assembly(SHAPES[shape]), CALLING, 1, 2, options={"relaxed": True})


@entries("entry crossing a page", live="refused: entry-crosses-page; works with --force")
def test_an_entry_that_cannot_change_at_once(stage: Stage) -> None:
    source = in_assembly(".p2align 12\n.skip 4094, 0xcc\nnext: mov VERSION, %eax\nret")
    stage.install(stage.build(source, version=1))
    with stage.running(stage.program(CALLING, "-include", str(stage.header))) as target:
        assert target.ask() == "1"
        stage.install(stage.build(source, version=2))
        assert "entry-crosses-page" in stage.refused(target).reason
        assert target.ask() == "1"
        stage.moved(target, force=True)
        assert target.ask() == "2"


@entries("function already hooked by someone else", live="refused: entry-hooked")
def test_an_entry_that_another_tool_has_changed(stage: Stage) -> None:
    stage.install(stage.build(COUNTING, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target, ProcessMemory(target.pid) as memory:
        assert target.ask() == "11"
        module = target.module("libscene.so")
        name = next(n for n in module.facts.functions if n.name == "next")
        entry = module.base + module.facts.functions[name].value
        before = memory.read(entry, 5)
        memory.write(entry, b"\xe9\0\0\0\0")  # a hook that leads back to what it replaced
        stage.install(stage.build(COUNTING, version=2))
        assert "entry-hooked" in stage.refused(target).reason
        assert memory.read(entry, 5) == b"\xe9\0\0\0\0"
        memory.write(entry, before)
        assert target.ask() == "21"
        stage.moved(target)
        assert target.ask() == "32"
