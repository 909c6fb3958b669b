import pytest

from libswap.abi.compare import compare
from libswap.elf.library import Library
from support.compiler import Compiler
from support.facts import Makes, difference, rules

pytestmark = pytest.mark.compiler

PLAIN = "int f(void) { return 1; }"
TLS = "static __thread char block[%d]; char *f(void) { return block; }"
STATIC = "-ftls-model=initial-exec"


@pytest.fixture(scope="module")
def make(compiler: Compiler) -> Makes:
    return Makes(compiler)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ([], ["-Wl,-z,execstack"], ("executable-stack", "")),
        (["-Wl,-z,relro"], ["-Wl,-z,norelro"], ("relro-lost", "")),
        (["-Wl,-z,now"], ["-Wl,-z,lazy"], ("bind-now-lost", "")),
        (["-Wl,-z,lazy"], ["-Wl,-z,now"], ("bind-now-gained", "")),
        ([], ["-Wl,-Bsymbolic"], ("symbolic", "")),
        (["-Wl,-Bsymbolic"], [], ("symbolic", "")),
        ([], ["-Wl,-z,nodelete"], ("no-delete-gained", "")),
        (["-Wl,-z,nodelete"], [], ("no-delete-lost", "")),
        ([], ["-Wl,-z,nodlopen"], ("no-open", "")),
        (["-Wl,-z,ibt"], [], ("cet-lost", "IBT")),
        (["-Wl,-z,shstk"], [], ("cet-lost", "shadow stack")),
        ([], ["-Wl,-z,x86-64-v3"], ("isa-level-raised", "")),
    ],
)  # fmt: skip
def test_how_it_is_loaded(
    make: Makes, old: list[str], new: list[str], found: tuple[str, str]
) -> None:
    assert difference(make.library(PLAIN, *old), make.library(PLAIN, *new)) == {found}


def test_a_protection_that_comes_is_no_finding(make: Makes) -> None:
    old = make.library(PLAIN, "-Wl,-z,execstack", "-Wl,-z,norelro")
    new = make.library(PLAIN, "-Wl,-z,noexecstack", "-Wl,-z,relro", "-Wl,-z,ibt,-z,shstk")
    assert compare(old, new) == ()


def test_code_that_must_be_written_to_is_told(make: Makes) -> None:
    pointer = 'static int v; asm(".text\\nplace: .quad v\\n"); int *f(void) { return &v; }'
    new = make.library(pointer, "-Wl,-z,notext")
    assert new.text_relocations
    assert rules(compare(make.library(PLAIN), new)) == {("text-relocations", "")}


def test_the_tls_model_and_size_are_told(make: Makes) -> None:
    plain = make.library(PLAIN)
    small, large = (make.library(TLS % size) for size in (8, 64))
    static, larger = (make.library(TLS % size, STATIC) for size in (8, 64))
    assert static.tls is not None
    assert static.tls.static
    assert tls(plain, small) == tls(small, large) == tls(larger, small) == {"tls-size"}
    assert tls(small, static) == {"tls-static"}
    assert tls(static, larger) == {"tls-static-grew"}


def tls(old: Library, new: Library) -> set[str]:
    return {rule for rule, _ in difference(old, new) if rule.startswith("tls")}
