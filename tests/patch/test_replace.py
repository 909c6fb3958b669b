"""What is found out about functions that are to be replaced."""

import shutil
import subprocess
from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.elf.relocatable import read_relocatable
from libswap.errors.patch import NothingToReplace, PatchRefused, SymbolsUnresolved
from libswap.patch.findings import Severity
from libswap.patch.link import Wishes, link
from libswap.patch.patch import Patch
from libswap.patch.target import Target
from support.compiler import Compiler
from support.host import linked

pytestmark = pytest.mark.compiler

KEEP = "__attribute__((noinline, noclone))"


def words(patch: Patch) -> dict[str, str]:
    return {f.word: f.subject for f in patch.findings}


def target(compiler: Compiler, source: str, *flags: str) -> Path:
    return compiler.library(f"{source}\n", "-O2", "-fno-ipa-ra", *flags)


def fix(compiler: Compiler, source: str) -> Path:
    return compiler.object(f"{source}\n", "-O2", "-fPIC", name="fix.o")


def test_name_at_file_chooses_one_of_several_statics(compiler: Compiler, tmp_path: Path) -> None:
    for name in ("first", "second"):
        text = f"static {KEEP} int twin(int x) {{ return x * {len(name)}; }}\n"
        (tmp_path / f"{name}.c").write_text(f"{text}int (*{name})(int) = twin;\n")
    library = tmp_path / "libtwins.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "first.c", "second.c", "-o", str(library)]
    subprocess.run(command, cwd=tmp_path, check=True)
    new = fix(compiler, "int twin(int); int fixed(int x) { return twin(x) + 1; }")
    with pytest.raises(SymbolsUnresolved, match=r"twin can be twin@first\.c, twin@second\.c"):
        linked(library, new, replacements={"twin@second.c": "fixed"})
    patch = linked(
        library, new, replacements={"twin@second.c": "fixed"}, aliases={"twin": "twin@first.c"}
    )
    assert [(r.label, r.by) for r in patch.replaced] == [("twin@second.c", "fixed")]
    assert [(u.name, u.unit) for u in patch.uses] == [("twin", "first.c")]


def test_clones_that_go_on_are_a_risk_until_they_are_replaced_too(compiler: Compiler) -> None:
    source = """
    static __attribute__((noinline)) int scaled(int x, int by) { return x * by + x / by; }
    int scenario(int x) { return scaled(x, 3) + scaled(x + 1, 3); }
    int keep(int x) { return scaled(x, 3) * 2; }
    int other(int x, int y) { return scaled(x, y); }
    """
    library = target(compiler, source, "-O3")
    new = fix(compiler, "int scaled(int x, int by) { return 0; }")
    with pytest.raises(PatchRefused, match=r"cloned: scaled@source\.c"):
        linked(library, new)
    assert words(linked(library, new, force=True))["cloned"] == "scaled@source.c"
    both = fix(compiler, "int scaled(int x, int by) { return 0; } int three(int x) { return 0; }")
    patch = linked(library, both, replacements={"scaled.constprop.0": "three"})
    assert "cloned" not in words(patch)


def test_cold_parts_belong_to_their_function(compiler: Compiler) -> None:
    source = """
    #include <stdlib.h>
    int work(int x) { if (__builtin_expect(x < 0, 0)) { abort(); } return x * 2; }
    """
    patch = linked(target(compiler, source), fix(compiler, "int work(int x) { return x; }"))
    assert len(patch.replaced[0].parts) == 1


def test_a_function_without_room_for_a_jump_is_refused(compiler: Compiler) -> None:
    source = """
    __asm__(".text\\n.globl tiny\\n.type tiny,@function\\ntiny: xor %eax,%eax\\n ret\\n"
            ".size tiny,.-tiny\\n.globl next\\n.type next,@function\\nnext: ret");
    """
    with pytest.raises(PatchRefused, match="entry-too-short: tiny: it has 3 bytes"):
        linked(target(compiler, source), fix(compiler, "int tiny(void) { return 1; }"))


def test_padding_behind_a_short_function_is_room(compiler: Compiler) -> None:
    library = target(compiler, "int tiny(void) { return 0; } int next(void) { return 1; }")
    patch = linked(library, fix(compiler, "int tiny(void) { return 1; }"))
    assert patch.replaced[0].size == 3
    assert patch.replaced[0].room == 16


def test_a_loop_head_in_the_first_bytes_is_told(compiler: Compiler) -> None:
    source = """
    __asm__(".text\\n.globl count\\n.type count,@function\\ncount: xor %eax,%eax\\n1: inc %eax\\n"
            " cmp %edi,%eax\\n jl 1b\\n ret\\n.size count,.-count");
    """
    library = target(compiler, source)
    patch = linked(library, fix(compiler, "int count(int x) { return x; }"))
    assert words(patch)["jump-into-entry"] == "count"


def test_an_indirect_function_is_refused(compiler: Compiler) -> None:
    source = """
    static int one(void) { return 1; }
    static void *choose(void) { return one; }
    int chosen(void) __attribute__((ifunc("choose")));
    """
    with pytest.raises(PatchRefused, match="indirect-function: chosen"):
        linked(target(compiler, source), fix(compiler, "int chosen(void) { return 2; }"))


def test_a_variable_of_the_same_name_is_a_risk(compiler: Compiler) -> None:
    library = target(compiler, "int level = 3; int get(void) { return level; }")
    new = fix(compiler, "int level = 3; int get(void) { return level + 1; }")
    with pytest.raises(PatchRefused, match="own-variable: level"):
        linked(library, new)
    tentative = compiler.object("int level; int get(void) { return level; }\n", "-fcommon", "-fPIC")
    assert "own-variable" not in words(linked(library, tentative))


def test_several_names_of_one_place_are_told(compiler: Compiler) -> None:
    source = 'int name(void) { return 1; } int other(void) __attribute__((alias("name")));'
    patch = linked(target(compiler, source), fix(compiler, "int name(void) { return 2; }"))
    assert words(patch)["shared-code"] == "name"


def test_inline_functions_of_both_are_left_to_each(compiler: Compiler) -> None:
    header = "struct S { int v; int get() { return v; } };"
    library = compiler.library(f"{header}\nint use(S *s) {{ return s->get(); }}\n", cc="g++")
    new = compiler.object(
        f"{header}\nint use(S *s) {{ return s->get() + 1; }}\n", "-fPIC", cc="g++"
    )
    patch = linked(library, new)
    assert [r.name for r in patch.replaced] == ["_Z3useP1S"]
    assert words(patch)["inline-function"] == "_ZN1S3getEv"
    assert all(f.severity is Severity.NOTE for f in patch.findings)


def test_a_function_of_which_only_clones_are_left_is_said_to_be_so(compiler: Compiler) -> None:
    source = """
    static __attribute__((noinline)) int scaled(int x, int by) { return x * by + x / by; }
    int work(int x) { return scaled(x, 3) + scaled(x + 1, 3); }
    """
    with pytest.raises(NothingToReplace, match=r"only scaled\.constprop\.0"):
        linked(target(compiler, source), fix(compiler, "int scaled(int x, int y) { return 0; }"))


def test_an_object_that_replaces_nothing_is_an_error_of_its_own(compiler: Compiler) -> None:
    library = target(compiler, "int here(void) { return 1; }")
    with pytest.raises(NothingToReplace) as caught:
        linked(library, fix(compiler, "int elsewhere(void) { return 2; }"))
    assert caught.value.functions == ("elsewhere",)


def test_a_stripped_target_takes_its_names_from_the_debug_file(compiler: Compiler) -> None:
    whole = target(
        compiler,
        f"static {KEEP} int hidden(int x) {{ return x * 7 + x / 3; }} int (*p)(int) = hidden;",
    )
    stripped = whole.with_name("stripped.so")
    shutil.copy(whole, stripped)
    subprocess.run(["strip", str(stripped)], check=True)
    new = fix(compiler, "int hidden(int x) { return x; }")
    with pytest.raises(NothingToReplace):
        linked(stripped, new)
    found = Target(Image.open(stripped), debug=Image.open(whole))
    patch = link([read_relocatable(Image.open(new))], found, Wishes(), {})
    assert [r.label for r in patch.replaced] == ["hidden@source.c"]
