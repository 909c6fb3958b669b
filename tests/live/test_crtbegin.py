"""What the compiler itself puts into a library, found without symbols."""

import pytest

from libswap.elf.image import Image
from libswap.linux.memory import Range
from libswap.live.crtbegin import own_data
from libswap.live.library import Library
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

SOURCE = (
    "struct list { struct list *next; } head = {&head};\nchar flag;\n"
    "%s void end(void) { if (!flag) { head = *head.next; flag = 1; } }\n"
)
DESTRUCTOR = SOURCE % "__attribute__((destructor))"


@pytest.mark.parametrize("flags", [(), ("-fcf-protection", "-Wl,-z,pack-relative-relocs")])
def test_they_are_where_the_symbols_say(compiler: Compiler, flags: tuple[str, ...]) -> None:
    named = _library(compiler, DESTRUCTOR, *flags)
    places = {s.name.partition(".")[0]: s.value for s in named.statics}
    handle, flag = places["__dso_handle"], places["completed"]
    expected = (Range(handle, handle + 8), Range(flag, flag + 1))
    assert own_data(_library(compiler, DESTRUCTOR, "-s", *flags)) == expected


def test_a_library_without_them_has_none(compiler: Compiler) -> None:
    """Its own destructor tests a flag too, and its list points to itself."""
    assert own_data(_library(compiler, DESTRUCTOR, "-s", "-nostdlib")) == ()
    assert own_data(_library(compiler, SOURCE % "", "-s", "-nostdlib")) == ()


def test_addresses_that_lead_nowhere_are_no_reason_to_fail(compiler: Compiler) -> None:
    library = _library(compiler, DESTRUCTOR)
    destructor = next(s.value for s in library.statics if s.name == "__do_global_dtors_aux")
    data = bytearray(library.image.data)
    at = library.image.offset_of(destructor, 64, "code")
    for place in range(at, at + 64):
        for value in (0, 0x7F, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] = value
            found = own_data(Library(Image(bytes(damaged), "damaged")))
            assert found in ((), own_data(library))


def _library(compiler: Compiler, source: str, *flags: str) -> Library:
    made = compiler.library(source, *flags, name="libcrt.so")
    return Library(Image(made.read_bytes(), "libcrt.so"))
