from dataclasses import replace

import pytest

from libswap.abi.compare import compare
from libswap.abi.finding import Severity
from libswap.abi.verdict import Verdict, verdict
from support.compiler import Compiler
from support.facts import Makes, difference

pytestmark = pytest.mark.compiler

BASE = "int count(void) { return 1; } int limit = 3;"


@pytest.fixture(scope="module")
def make(compiler: Compiler) -> Makes:
    return Makes(compiler)


def test_a_library_is_identical_to_itself(make: Makes) -> None:
    library = make.library(BASE, "-Wl,--build-id")
    assert compare(library, library) == ()
    assert verdict(library, library, ()) is Verdict.IDENTICAL


def test_an_equal_build_id_does_not_hide_a_difference(make: Makes) -> None:
    forged = "-Wl,--build-id=0x1234"
    old, new = make.library(BASE, forged), make.library("int limit = 3;", forged)
    assert old.build_id == new.build_id
    assert verdict(old, new, compare(old, new)) is Verdict.INCOMPATIBLE


def test_a_new_body_of_a_function_is_compatible(make: Makes) -> None:
    old = make.library(BASE, "-Wl,--build-id")
    new = make.library(BASE.replace("return 1", "return 41"), "-Wl,--build-id")
    assert compare(old, new) == ()
    assert verdict(old, new, ()) is Verdict.COMPATIBLE


def test_files_for_other_machines_are_not_compared_further(make: Makes) -> None:
    old = make.library(BASE)
    new = replace(old, target=replace(old.target, machine=183), exports={})
    assert difference(old, new) == {("machine", "")}


def test_the_worst_finding_comes_first(make: Makes) -> None:
    old = make.library(BASE, "-Wl,-z,now")
    new = make.library("int limit = 3; int more;")
    found = [finding.severity for finding in compare(old, new)]
    assert found == [Severity.INCOMPATIBLE, Severity.WARNING, Severity.NOTE]


def test_strict_does_not_accept_warnings() -> None:
    assert [v.acceptable() for v in Verdict] == [True, True, True, False]
    assert [v.acceptable(strict=True) for v in Verdict] == [True, True, False, False]
