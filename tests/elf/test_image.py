import gc

import pytest

from libswap.elf.contents import FileBytes
from libswap.elf.dynamic import read_dynamic
from libswap.elf.format import FileType
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.elf.relocations import relocations
from libswap.elf.symbols import dynamic_symbols
from libswap.errors.base import InvalidElf
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

SOURCE = """
int counter = 3;
int puts(const char *);
int count(void) { puts("counted"); return counter++; }
"""


def test_a_compiled_library_is_read_as_the_linker_wrote_it(compiler: Compiler) -> None:
    path = compiler.library(SOURCE, "-Wl,--build-id=0x0123abcd", soname="libcount.so.1")
    image = Image.open(path)
    dynamic = read_dynamic(image)
    assert dynamic is not None
    assert (image.header.bits, image.header.machine_name) == (64, "x86-64")
    assert image.header.type == FileType.DYN
    assert (dynamic.soname, dynamic.needed) == ("libcount.so.1", ("libc.so.6",))
    assert build_id(image) == "0123abcd"
    symbols = {s.name: s for s in dynamic_symbols(image, dynamic)}
    assert symbols["count"].is_function
    assert symbols["counter"].size == 4
    bound = {dynamic_symbols(image, dynamic)[r.symbol].name for r in relocations(image, dynamic)}
    assert "counter" in bound


def test_every_truncation_is_a_clear_error_or_a_whole_header(compiler: Compiler) -> None:
    data = compiler.library(SOURCE).read_bytes()
    for length in range(0, len(data), 97):
        try:
            image = Image(data[:length], "cut.so")
            dynamic = read_dynamic(image)
            if dynamic:
                list(relocations(image, dynamic))
                dynamic_symbols(image, dynamic)
        except InvalidElf as error:
            told = error.message
        else:
            continue
        assert "cut.so" in told


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"!<arch>\nfoo", "static archive"), (b"GROUP ( libc.so.6 )", "linker script"),
     (b"/* We prefer\na script */ INPUT(-lx)", "linker script"), (b"", "empty"),
     (b"/* not closed", "magic"), (b"/*" * 500, "magic"), (b"/**/" * 256, "magic"),
     (b"hello", "magic"), (b"\x7fELF", "damaged")],
)  # fmt: skip
def test_what_is_no_library_is_called_by_its_name(data: bytes, words: str) -> None:
    with pytest.raises(InvalidElf, match=words):
        Image(data, "x")


def test_a_file_that_cannot_be_had_leaves_nothing_to_close() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        FileBytes(-1)
    gc.collect()  # a failing __del__ would be a warning, and warnings are errors here


@pytest.mark.parametrize(("path", "words"), [("/", "directory"), ("/dev/null", "regular")])
def test_only_regular_files_are_read(path: str, words: str) -> None:
    with pytest.raises(InvalidElf, match=words):
        Image.open(path)
