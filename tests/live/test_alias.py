import os

import pytest

from libswap.elf.image import Image
from libswap.live.alias import another, renamed
from libswap.live.library import Library
from support.compiler import Compiler
from support.holders import COUNTER


@pytest.mark.compiler
def test_a_name_beyond_ascii_keeps_its_bytes_in_the_file(compiler: Compiler) -> None:
    """It is one character shorter than its place in the string table."""
    name = "\u00e9l.so"
    library = Library(Image.open(compiler.library(COUNTER, soname=name)))
    alias = another(name, {name})
    made = Library(Image(renamed(library, {name: alias}), "made"))
    assert made.dynamic.soname == alias != name
    assert len(made.image.data[:]) == len(library.image.data[:])
    assert len(os.fsencode(alias)) == len(os.fsencode(name))
