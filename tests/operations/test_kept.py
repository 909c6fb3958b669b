"""Results of comparisons that are kept: those that can be read again, and no others."""

from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.elf.nameless import Doubt, Nameless
from libswap.operations.survival import kept
from libswap.survival.examination import Source
from support.compiler import Compiler

pytestmark = pytest.mark.compiler


@pytest.mark.parametrize("count", [1, 60_000])
def test_what_is_too_large_to_be_read_is_not_written(
    compiler: Compiler, tmp_path: Path, count: int
) -> None:
    one = Source(Image.open(compiler.library("int f(void) { return 1; }\n")))
    found = Nameless(doubts=tuple(Doubt(8 * at, 8, "w" * 20, ("user",)) for at in range(count)))
    kept.keep(tmp_path, one, one, found)
    written = list(tmp_path.glob("survival/*"))
    if count == 1:
        assert kept.find(tmp_path, one, one, Nameless) == found
        assert len(written) == 1
    else:
        assert not written
