"""What a result and an error look like, to people and to programs."""

import dataclasses
import enum
from pathlib import Path
from typing import NamedTuple

import pytest

from libswap.errors.base import InvalidElf, UsageError
from libswap.report import console
from libswap.report.console import ConsoleReporter
from libswap.report.line import Line
from libswap.report.machine import JsonReporter, plain
from libswap.report.text import printable


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    path: Path
    digest: bytes
    colour: Colour
    pairs: tuple[Pair, ...]
    by_name: dict[str, frozenset[int]]


def test_facts_become_json_by_field_with_the_class_as_kind() -> None:
    fact = Fact(Path("/lib"), b"\x01\xff", Colour.RED, (Pair(1, "r"),), {"a": frozenset({2, 1})})
    assert plain(fact) == {
        "kind": "Fact",
        "path": "/lib",
        "digest": "01ff",
        "colour": "red",
        "pairs": [{"left": 1, "right": "r"}],
        "by_name": {"a": [1, 2]},
    }


def test_what_has_no_json_form_is_our_own_fault() -> None:
    with pytest.raises(AssertionError, match="no JSON form for object"):
        plain(object())


def test_a_line_is_cut_or_goes_on_where_a_terminal_ends_and_is_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [Line("[b]" + 40 * "x", "bold", cut=True), Line(40 * "y"), Line()]
    monkeypatch.setattr(console, "_parts", lambda _view, result: result)
    monkeypatch.delenv("COLUMNS", raising=False)
    ConsoleReporter().show("scan", lines)
    assert capsys.readouterr().out == f"[b]{40 * 'x'}\n{40 * 'y'}\n\n"
    monkeypatch.setenv("COLUMNS", "30")
    ConsoleReporter().show("scan", lines)
    cut, first, rest, empty = capsys.readouterr().out.splitlines()
    assert cut == f"[b]{26 * 'x'}…"
    assert (first, rest, empty) == (30 * "y", 10 * "y", "")


def test_an_error_is_a_message_and_below_it_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleReporter().error(InvalidElf("/tmp/a\nb.so", "it is empty"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == (
        "libswap: /tmp/a\\nb.so is not a usable shared library: it is empty"
    )
    assert err.splitlines()[1].startswith("  Nothing was changed.")


def test_an_error_in_json_has_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    JsonReporter("install").error(UsageError(problem="no", advice="yes"))
    out, err = capsys.readouterr()
    assert '"fields": {\n      "problem": "no",\n      "advice": "yes"\n    }' in out
    assert err == ""


def test_nobody_on_a_terminal_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not ConsoleReporter().confirm("Really?")
    assert not JsonReporter("install").confirm("Really?")


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain.so", "plain.so"),
        ("a\nb", "a\\nb"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\udcff", "\\xff"),
        ("\u202eso.gnp", "\\u202eso.gnp"),
    ],
)
def test_foreign_text_cannot_steer_a_terminal(foreign: str, shown: str) -> None:
    assert printable(foreign) == shown
