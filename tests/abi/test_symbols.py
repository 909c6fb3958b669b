import pytest

from libswap.elf.symbols import SymbolKey
from support.compiler import Compiler
from support.facts import Makes, difference

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def make(compiler: Compiler) -> Makes:
    return Makes(compiler)


def test_a_removed_function_is_told_with_what_references_bind_by(make: Makes) -> None:
    old = make.library("int f(void) { return 1; }", versions="V1 { global: f; };")
    new = make.library("int g;", versions="V1 { global: g; };")
    assert difference(old, new) == {("symbol-removed", "f@@V1"), ("symbol-added", "g@@V1")}
    assert SymbolKey("f", "V1") in old.exports


def test_a_hidden_symbol_is_as_good_as_removed(make: Makes) -> None:
    old = make.library("int f(void) { return 1; }")
    new = make.library('__attribute__((visibility("hidden"))) int f(void) { return 1; }')
    assert difference(old, new) == {("symbol-removed", "f")}


def test_a_symbol_of_a_private_node_may_go_with_a_warning(make: Makes) -> None:
    old = make.library("int f, g;", versions="V1 { global: f; }; V_PRIVATE { global: g; };")
    new = make.library("int f;", versions="V1 { global: f; };")
    found = difference(old, new)
    assert ("private-symbol-removed", "g@@V_PRIVATE") in found
    assert ("private-version-removed", "V_PRIVATE") in found
    assert not {rule for rule, _ in found} & {"symbol-removed", "version-removed"}


CHOSEN = """
static int g(void) { return 1; }
static void *resolve(void) { return g; }
int f(void) __attribute__((ifunc("resolve")));
"""


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("int f(void) { return 1; }", "int f;", "symbol-kind"),
        ("int f;", "__thread int f;", "symbol-kind"),
        ("int f(void) { return 1; }", 'asm(".globl f\\nf: ret\\n");', "symbol-kind-unknown"),
        ("char f[8] = {1};", "char f[16] = {1};", "data-size-grew"),
        ("char f[16] = {1};", "char f[8] = {1};", "data-size-shrank"),
        ("__thread char f[8];", "__thread char f[9];", "tls-symbol-size"),
        ("int f;", "__attribute__((weak)) int f;", "binding"),
        ("int f;", 'asm(".type f, @gnu_unique_object"); int f = 1;', "binding-unique"),
        ("int f;", '__attribute__((visibility("protected"))) int f;', "visibility"),
        ("int f(void) { return 1; }",
         CHOSEN, "ifunc-gained"),
    ],
)  # fmt: skip
def test_a_symbol_that_is_not_what_it_was(make: Makes, old: str, new: str, rule: str) -> None:
    assert (rule, "f") in difference(make.library(old), make.library(new))


def test_the_size_of_a_function_is_nobodys_business(make: Makes) -> None:
    old = make.library("int f(int n) { return n; }")
    new = make.library("int f(int n) { for (int i = 0; i < 9; i++) n ^= n << i; return n; }")
    assert difference(old, new) == set()


def test_what_the_linker_puts_into_every_table_is_left_out(make: Makes) -> None:
    old = make.library("int _edata = 1; int f;")
    assert difference(old, make.library("int f;")) == set()


def test_an_added_virtual_function_changes_the_vtable(make: Makes) -> None:
    source = "struct S { virtual int a(); %s }; int S::a() { return 1; }"
    old = make.library(source % "", "-nostdlib", cc="c++")
    new = make.library(source % "virtual int b() { return 2; }", "-nostdlib", cc="c++")
    assert ("vtable-size", "_ZTV1S") in difference(old, new)


V = "V1 { global: f; local: *; };"
V2 = "V1 { global: f; }; V2 { global: f; local: *; } V1;"


def test_versions_bind_as_the_dynamic_linker_binds_them(make: Makes) -> None:
    plain = make.library("int f(void) { return 1; }")
    one = make.library("int f(void) { return 1; }", versions=V)
    other = make.library("int f(void) { return 1; }", versions=V.replace("V1", "V9"))
    assert difference(plain, one) == {("symbol-version-gained", "f"), ("version-added", "V1")}
    assert difference(one, plain) == {("symbol-version-lost", "f@@V1"), ("versions-lost", "")}
    assert difference(one, other) == {
        ("symbol-version-changed", "f@@V1"), ("version-removed", "V1"), ("version-added", "V9"),
    }  # fmt: skip


def test_a_new_default_version_keeps_the_old_one_for_old_programs(make: Makes) -> None:
    one = make.library("int f(void) { return 1; }", versions=V)
    two = make.library(
        'asm(".symver f1, f@V1"); asm(".symver f2, f@@V2");'
        "int f1(void) { return 1; } int f2(void) { return 2; }",
        versions=V2,
    )
    none = make.library('asm(".symver f1, f@V1"); int f1(void) { return 1; }', versions=V)
    assert difference(one, two) == {
        ("default-version-moved", "f"), ("symbol-added", "f@@V2"), ("version-added", "V2"),
    }  # fmt: skip
    assert difference(one, none) == {("default-version-lost", "f")}
