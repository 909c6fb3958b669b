from dataclasses import replace

import pytest

from libswap.abi.scope import Scope, Surroundings, unmet
from libswap.elf.library import Library
from libswap.elf.notes import X86Properties
from libswap.elf.versions import Version
from support.compiler import Compiler
from support.facts import Makes, rules

pytestmark = pytest.mark.compiler

USER = "int helper(void); int f(void) { return helper(); }"


@pytest.fixture(scope="module")
def make(compiler: Compiler) -> Makes:
    return Makes(compiler)


@pytest.fixture(scope="module")
def old(make: Makes) -> Library:
    return make.library("int f(void) { return 1; }", "-nostdlib")


def found(old: Library, new: Library, *scopes: Scope) -> set[tuple[str, str]]:
    return rules(unmet(old, new, [Surroundings(scope, scope) for scope in scopes]))


def test_a_symbol_that_nothing_provides_is_told(make: Makes, old: Library) -> None:
    new = make.library(USER, "-nostdlib")
    provider = make.library("int helper(void) { return 1; }", "-nostdlib")
    assert found(old, new, Scope("p", ())) == {("symbol-unresolved", "helper")}
    assert found(old, new, Scope("p", (provider,))) == set()


def test_a_weak_reference_may_stay_without_a_definition(make: Makes, old: Library) -> None:
    source = USER.replace("int helper", "__attribute__((weak)) int helper", 1)
    assert found(old, make.library(source, "-nostdlib"), Scope("p", ())) == set()


def test_what_the_old_library_lacks_too_is_nothing_new(make: Makes) -> None:
    plugin = make.library(USER, "-nostdlib")
    assert found(plugin, plugin, Scope("p", (), missing=("libgone.so",))) == set()


def test_nobody_can_say_what_a_missing_library_provides(make: Makes, old: Library) -> None:
    new = make.library(USER, "-nostdlib")
    scope = Surroundings(Scope("p", ()), Scope("p", (), missing=("libgone.so",)))
    assert rules(unmet(old, new, [scope])) == {("needed-not-found", "libgone.so")}
    damaged = Surroundings(Scope("p", ()), Scope("p", (), damaged=(("liba.so", "cut"),)))
    assert rules(unmet(old, new, [damaged])) == {("needed-unreadable", "liba.so")}


def test_a_plugin_may_take_one_more_symbol_from_its_program(make: Makes) -> None:
    plugin = make.library(USER, "-nostdlib")
    new = make.library(USER.replace("helper()", "helper() + more()")
                       .replace("int f", "int more(void); int f"), "-nostdlib")  # fmt: skip
    program = make.library("int helper(void) { return 1; } int more(void) { return 2; }")
    unknown = Scope("p", (), program_known=False)
    assert found(plugin, new, unknown) == {("symbol-of-program", "more")}
    assert found(plugin, new, Scope("p", ())) == {("symbol-unresolved", "more")}
    assert found(plugin, new, Scope("p", (program,))) == set()


def test_a_version_binds_to_that_version_or_to_none(make: Makes, old: Library) -> None:
    helper = "int helper(void) { return 1; }"
    versioned = make.library(helper, "-nostdlib", versions="H1 { global: helper; };")
    plain = make.library(helper, "-nostdlib")
    other = make.library(helper, "-nostdlib", versions="H2 { global: helper; };")
    needs = replace(
        make.library(USER, "-nostdlib"), version_needs=(Version("H1", "libfixture.so.1"),)
    )
    wanting = replace(
        needs,
        imports=tuple(
            s._replace(version="H1", library="libfixture.so.1") if s.name == "helper" else s
            for s in needs.imports
        ),
    )
    assert found(old, wanting, Scope("p", (versioned,))) == set()
    subject = "H1 of libfixture.so.1"
    assert found(old, wanting, Scope("p", (plain,))) == {("version-unchecked", subject)}
    assert found(old, wanting, Scope("p", (other,))) == {
        ("version-missing", subject), ("symbol-unresolved", "helper@H1"),
    }  # fmt: skip
    weak = replace(
        wanting, imports=(), version_needs=(Version("H1", "libfixture.so.1", weak=True),)
    )
    assert found(old, weak, Scope("p", (other,))) == set()


def test_a_processor_below_the_needed_level_is_told(old: Library) -> None:
    new = replace(old, x86=X86Properties(0, 0b1101))
    assert found(old, new, Scope("p", (), isa_level=3)) == {("isa-level-missing", "")}
    assert found(old, new, Scope("p", (), isa_level=4)) == set()
    assert found(old, new, Scope("p", (), isa_level=None)) == set()


def test_what_is_missing_in_many_places_is_one_finding(make: Makes, old: Library) -> None:
    new = make.library(USER, "-nostdlib")
    (one,) = unmet(old, new, [Surroundings(s, s) for n in range(20) if (s := Scope(f"p{n}", ()))])
    assert "p0, p1" in one.new
    assert "and 12 more" in one.new
