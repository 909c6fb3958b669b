from dataclasses import replace

import pytest

from libswap.abi.compare import compare
from libswap.abi.finding import Finding
from libswap.abi.importers import Affected, name_importers
from libswap.elf.library import Library
from support.compiler import Compiler
from support.facts import Makes, facts

pytestmark = pytest.mark.compiler

OLD = "char table[8] = {1}; int f(void) { return 1; } int g(void) { return 2; }"
VERSIONS = "V1 { global: table; f; g; };"
USER = "extern char table[8]; int f(void); int main(void) { return f() + table[1]; }\n"


class World:
    """An old library, a new one without f and with a larger table, and a program that uses both."""

    def __init__(self, compiler: Compiler, versions: str) -> None:
        make = Makes(compiler)
        self.path = make.path(OLD, versions=versions)
        self.old = facts(self.path)
        self.new = make.library("char table[16] = {1}; int g(void) { return 2; }",
                                versions=versions.replace(" f;", ""))  # fmt: skip
        self.program = facts(
            compiler.program(USER, str(self.path), "-no-pie", "-fno-pie", name="user")
        )

    def named(self, *modules: Library) -> dict[str, Finding]:
        affected = [Affected(7, "user", modules)]
        findings = name_importers(compare(self.old, self.new), self.old, affected)
        return {finding.rule: finding for finding in findings}


@pytest.fixture(params=["", VERSIONS], ids=["plain", "versioned"])
def world(compiler: Compiler, request: pytest.FixtureRequest) -> World:
    return World(compiler, request.param)


def test_the_importing_module_is_named(world: World) -> None:
    (importer,) = world.named(world.program)["symbol-removed"].importers
    assert (importer.pid, importer.process, importer.module) == (7, "user", world.program.name)


def test_who_imports_something_else_is_not_named(world: World) -> None:
    bystander = replace(world.program, imports=(), copied=frozenset())
    findings = world.named(bystander)
    assert not any(finding.importers for finding in findings.values())
    assert "copy-relocation" not in findings


def test_a_copy_of_data_that_grows_is_told(world: World) -> None:
    assert {key.name for key in world.program.copied} == {"table"}
    copied = world.named(world.program)["copy-relocation"]
    assert copied.symbol is not None
    assert copied.symbol.name == "table"
    assert [importer.pid for importer in copied.importers] == [7]


def test_an_importer_that_finds_it_elsewhere_is_not_named(compiler: Compiler, world: World) -> None:
    versions = VERSIONS if world.old.versions else ""
    wrapper = Makes(compiler).library("int f(void) { return 9; }", "-DWRAP", versions=versions)
    assert not world.named(world.program, wrapper)["symbol-removed"].importers


def test_who_wants_a_removed_version_node_is_named(compiler: Compiler) -> None:
    world = World(compiler, VERSIONS)
    world.new = Makes(compiler).library(OLD, versions=VERSIONS.replace("V1", "V2"))
    (importer,) = world.named(world.program)["version-removed"].importers
    assert importer.module == world.program.name
