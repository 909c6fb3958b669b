import subprocess

import pytest

from libswap.abi.finding import Severity
from libswap.abi.types import ARGUMENTS, type_findings
from support.compiler import Compiler, has
from support.facts import Makes

OLD = """
struct shape { int width; long area; };
enum colour { RED, BLUE };
long area(struct shape *s) { return s->area; }
int paint(enum colour c) { return c; }
int twice(int n) { return 2 * n; }
"""


def findings(compiler: Compiler, old: str, new: str) -> dict[str, tuple[str, Severity]]:
    make = Makes(compiler)
    paths = [make.path(source, "-g", "-O0") for source in (old, new)]
    done = subprocess.run(
        ["abidiff", *ARGUMENTS, *paths], capture_output=True, text=True, check=False
    )
    found = type_findings(done.stdout, done.returncode)
    return {finding.subject: (finding.rule, finding.severity) for finding in found}


LAYOUT = ("type-layout", Severity.INCOMPATIBLE)
CHANGED = ("type-changed", Severity.WARNING)


@pytest.mark.compiler
@pytest.mark.skipif(not has("abidiff"), reason="no abidiff (abigail-tools)")
@pytest.mark.parametrize(
    ("before", "after", "subject", "expected"),
    [
        ("int width; long area;", "long area; int width;", "struct shape", LAYOUT),
        ("int width; long area;", "int width; long area; int more;", "struct shape", LAYOUT),
        ("RED, BLUE", "RED, GREEN, BLUE", "enum colour", LAYOUT),
        ("twice(int n)", "twice(int n, int m)", "function int twice(int)", LAYOUT),
        ("int twice(int n)", "int twice(long n)", "function int twice(int)", LAYOUT),
        ("int twice(int n)", "int twice(unsigned n)", "function int twice(int)", CHANGED),
    ],
)
def test_a_change_of_types_is_told(
    compiler: Compiler, before: str, after: str, subject: str, expected: tuple[str, Severity]
) -> None:  # fmt: skip
    assert findings(compiler, OLD, OLD.replace(before, after)) == {subject: expected}


@pytest.mark.compiler
@pytest.mark.skipif(not has("abidiff"), reason="no abidiff (abigail-tools)")
def test_removed_and_added_symbols_are_left_to_our_own_rules(compiler: Compiler) -> None:
    assert findings(compiler, OLD, OLD.replace("twice", "thrice")) == {}


def test_a_status_that_nothing_explains_is_a_finding() -> None:
    (found,) = type_findings("", 12)
    assert (found.rule, found.severity) == ("type-incompatible", Severity.INCOMPATIBLE)


def test_a_detail_of_unknown_wording_is_a_warning() -> None:
    (found,) = type_findings("'struct s' changed:\n  something new is said here\n", 4)
    assert (found.rule, found.new) == ("type-changed", "something new is said here")


def test_a_report_without_end_is_read_to_a_limit() -> None:
    report = "'struct s' changed:\n  type size changed from 1 to 2 (in bits)\n\n" * 30_000
    assert 0 < len(type_findings(report, 4)) < 30_000


def test_a_line_that_is_made_to_be_slow_is_not() -> None:
    report = "'struct s' changed:\n  " + "parameter 1 " * 500_000 + "\n"
    (found,) = type_findings(report, 4)
    assert found.rule == "type-changed"
