"""Which of a library's data old code goes on to use after a swap."""

from collections.abc import Mapping
from typing import Final

import pytest

from libswap.errors.base import MissingTool
from libswap.linux.memory import Range
from libswap.live import lasting
from libswap.live.library import Library
from libswap.live.module import LibraryCache
from libswap.live.outlook import data_of_old_code
from libswap.live.writable import writable_ranges
from libswap.operations.survival.nameless import finder
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

SOURCE: Final = """
struct timer {{ long (*fire)(struct timer *); long at; }};
static long other = 3, count = 5;
static __attribute__((noinline)) long inner(long i) {{ return {how}; }}
static long fire(struct timer *t) {{ return inner(t->at) * {factor}; }}
void timer_set(struct timer *t) {{ {keep} }}
long timer_count(int i) {{ return count {more} i; }}
long timer_other(int i) {{ return other {more}= i; }}
"""
OLD: Final = {"how": "count += i", "factor": "3", "more": "+"}
NEW: Final = {"how": "count = i ? count * 3 + i % 7 - (i ^ count) : i * count", "more": "-",
              "factor": "t->at % 9 + (t->at ^ 77)"}  # fmt: skip
KEEPS: Final = "t->fire = fire;"
CALLS: Final = "t->at = fire(t);"


def used(compiler: Compiler, keep: str) -> tuple[Library, Mapping[int, tuple[Range, ...]]]:
    cache = LibraryCache(finder=finder())
    old, new = (
        cache.open(str(compiler.library(SOURCE.format(keep=keep, **how), "-O2", "-s")))
        for how in (OLD, NEW)
    )
    return old, data_of_old_code(old, new)


def test_what_a_function_that_objects_keep_calls_uses_data(compiler: Compiler) -> None:
    _, found = used(compiler, KEEPS)
    (pieces,) = set(found.values())
    assert [piece.size for piece in pieces] == [8], "count, and not its neighbour"


def test_functions_that_are_only_called_do_not_go_on(compiler: Compiler) -> None:
    assert used(compiler, CALLS)[1] == {}


def test_code_that_cannot_be_read_may_use_all(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingTool("iced-x86", "decode", "")

    monkeypatch.setattr(lasting, "instructions", missing)
    old, found = used(compiler, KEEPS)
    assert found
    assert set(found.values()) == {writable_ranges(old)}


def test_only_so_much_code_is_read(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "_MOST", 1)
    old, found = used(compiler, KEEPS)
    assert found
    assert set(found.values()) == {writable_ranges(old)}
