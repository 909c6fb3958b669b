"""The measure itself: a process whose objects meet another version of a library of our own."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.encounter import Truth, encounter

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.mark.parametrize(
    ("change", "truth"),
    [("FIXED", Truth.SAFE), ("ADDED", Truth.UNSAFE), ("REORDERED", Truth.UNSAFE)],
)
def test_objects_meet_the_new_library(
    compiler: Compiler, tmp_path: Path, change: str, truth: Truth
) -> None:
    old, new = (
        compiler.library("survival/store.c", "-O2", *flags, soname="libstore.so", name=name)
        for flags, name in (((), "libstore.so.1"), ((f"-D{change}",), "libstore.so.2"))
    )
    assert encounter("store_driver", old, new, tmp_path).truth is truth
