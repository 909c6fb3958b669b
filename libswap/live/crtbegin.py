"""Two variables of the compiler's in every library, to which no program has a pointer.

gcc links crtbeginS.o into it. Its data are `__dso_handle`, which holds its own address, and the
flag `completed`. The first destructor uses both (`__do_global_dtors_aux` in libgcc's crtstuff.c):
it tests the flag, gives the handle to `__cxa_finalize` and sets the flag. Only the C library is
told the handle's address, with what this copy registers there, and that stays this copy's.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.errors.base import InvalidElf
from libswap.linux.memory import Range
from libswap.live.library import Library
from libswap.live.writable import initial

_WORD: Final = struct.Struct("<Q")
_MOST_CODE: Final = 96
_DESTRUCTOR: Final = re.compile(
    rb"(?s)(?:\xf3\x0f\x1e\xfa)?"  # endbr64
    rb"\x80\x3d(?P<tested>.{4})\0\x75"  # cmpb $0, completed(%rip); jne
    rb".{1,24}?\x48\x8b\x3d(?P<handle>.{4})"  # mov __dso_handle(%rip), %rdi
    rb".{1,24}?\xc6\x05(?P<set>.{4})\x01"  # movb $1, completed(%rip)
)


def own_data(library: Library) -> tuple[Range, ...]:
    """Where these two are, in the file's terms; nothing where its first destructor is another."""
    with suppress(InvalidElf):
        start = _first_destructor(library)
        code = library.image.rest_of_segment(start, "its first destructor", _MOST_CODE)
        if found := _DESTRUCTOR.match(code):
            tested, handle, set_ = _named(found, start)
            if tested == set_ and _value(library, handle) == handle:
                return Range(handle, handle + _WORD.size), Range(tested, tested + 1)
    return ()


def _named(found: "re.Match[bytes]", start: int) -> Iterator[int]:
    """The addresses that the instructions name; a byte of theirs may follow the displacement."""
    for name, behind in (("tested", 1), ("handle", 0), ("set", 1)):
        (displacement,) = struct.unpack("<i", found[name])
        yield start + found.end(name) + behind + displacement


def _first_destructor(library: Library) -> int:
    place = library.dynamic.value(Tag.FINI_ARRAY)
    return _value(library, place) if place else 0


def _value(library: Library, at: int) -> int:
    """What a word holds in a copy that is loaded at 0."""
    (value,) = _WORD.unpack(initial(library, Range(at, at + _WORD.size), 0).contents)
    return int(value)
