import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libswap.install import journal, records
from libswap.install.content import File, Inode, Link, Nothing
from libswap.install.journal import Abort, Begin, Commit, Pending
from libswap.install.records import Malformed
from libswap.install.transaction import Affected, Caller, Change, Kind, Strategy, Transaction
from libswap.linux.attributes import Attributes
from libswap.linux.files import FileId

names = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20) | st.binary(
    max_size=20
).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
numbers = st.integers(0, 2**64 - 1)
ids = st.builds(FileId, numbers, numbers)
attributes = st.builds(
    Attributes,
    numbers,
    numbers,
    numbers,
    numbers,
    st.lists(st.tuples(names, st.binary(max_size=30)), max_size=3).map(tuple),
)
files = st.builds(
    File,
    names,
    numbers,
    st.none() | names,
    st.none() | names,
    st.none() | attributes,
    st.none() | st.builds(Inode, ids, st.none() | numbers, numbers),
)
contents = st.just(Nothing()) | st.builds(Link, names) | files
changes = st.builds(
    Change, names, ids, names, contents, contents, st.none() | names, names, st.none() | names
)
transactions = st.builds(
    Transaction,
    names,
    st.sampled_from(Kind),
    st.floats(0, 6e10),
    st.builds(Caller, numbers, names, st.none() | names),
    st.sampled_from(Strategy),
    st.lists(changes, max_size=3).map(tuple),
    st.booleans(),
    st.lists(st.builds(Affected, numbers, numbers, names), max_size=2).map(tuple),
    st.none() | names,
)


def example() -> Transaction:
    change = Change("/lib", FileId(1, 2), "x", Nothing(), Link("y"), None, ".stage", None)
    caller = Caller(0, "root", None)
    return Transaction("id", Kind.INSTALL, 1.0, caller, Strategy.RENAME, (change,))


BEGIN = records.line(Begin(example()))
COMMIT = records.line(Commit("id"))
ABORT = records.line(Abort("id"))


@given(transactions)
def test_what_is_written_is_what_is_read(transaction: Transaction) -> None:
    assert journal.parse(records.line(Begin(transaction))) == Pending(transaction, committed=False)


@pytest.mark.parametrize(
    ("data", "committed"),
    [
        (BEGIN, False),
        (BEGIN + COMMIT, True),
        (BEGIN + COMMIT + ABORT, False),
        (BEGIN + COMMIT[:-1], False),
        (BEGIN + COMMIT[:7], False),
        (BEGIN + COMMIT[:40] + b"\0" * 40, False),
        (BEGIN + COMMIT + ABORT[:9], True),
    ],
    ids=["begun", "committed", "aborted", "no newline", "torn", "torn with zeros", "torn abort"],
)
def test_a_mark_counts_only_when_all_of_it_is_there(data: bytes, *, committed: bool) -> None:
    assert journal.parse(data) == Pending(example(), committed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        BEGIN[:-1],
        BEGIN[:100],
        COMMIT,
        b"garbage\n" + BEGIN,
        BEGIN + b"garbage\n" + COMMIT,
        BEGIN + records.line(Commit("another")),
        records.line(Begin(example(), format=99)),
    ],
    ids=[
        "empty", "blank", "torn first line", "half of it", "a mark alone", "garbage first",
        "garbage between", "a mark of another operation", "a later format",
    ],
)  # fmt: skip
def test_anything_else_is_reported_and_not_guessed(data: bytes) -> None:
    with pytest.raises(Malformed):
        journal.parse(data)


@given(st.binary(max_size=300))
def test_junk_is_malformed_and_never_a_traceback(data: bytes) -> None:
    with pytest.raises(Malformed):
        journal.parse(data)


@given(st.data())
def test_a_changed_byte_never_changes_what_is_read_unnoticed(data: st.DataObject) -> None:
    whole = BEGIN + COMMIT
    at = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != whole[at]))
    spoilt = whole[:at] + bytes([value]) + whole[at + 1 :]
    try:
        found = journal.parse(spoilt)
    except Malformed:
        return
    assert found == Pending(example(), committed=False)
    assert at >= len(BEGIN), "only the last mark may be lost"


@given(st.integers(0, len(BEGIN + COMMIT)))
def test_a_journal_cut_anywhere_is_either_refused_or_uncommitted(length: int) -> None:
    try:
        found = journal.parse((BEGIN + COMMIT)[:length])
    except Malformed:
        assert length < len(BEGIN)
        return
    assert found == Pending(example(), committed=length == len(BEGIN + COMMIT))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.sampled_from(["kind", "transaction", "id", "x"]), inner),
                    max_leaves=20))  # fmt: skip
def test_a_text_with_a_right_sum_and_a_wrong_meaning_is_malformed(value: object) -> None:
    text = json.dumps(value).encode()
    with pytest.raises(Malformed):
        journal.parse(records._sum(text) + b" " + text + b"\n")


@pytest.mark.parametrize(
    "odd",
    [{"time": math.nan}, {"time": math.inf}, {"time": -1e300}, {"time": 1 << 70},
     {"caller": Caller(1 << 70, "", None)}],
    ids=["nan", "infinite", "long ago", "whole", "nobody"],
)  # fmt: skip
def test_a_number_that_nothing_has_is_malformed(odd: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        journal.parse(records.line(Begin(replace(example(), **odd))))


def test_a_name_that_is_one_in_no_locale_is_malformed() -> None:
    mark = {"kind": "Commit", "id": "lib\ud800.so"}
    with pytest.raises(Malformed, match="no locale"):
        records.parse(json.dumps(mark).encode(), Commit)
