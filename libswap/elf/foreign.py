"""What a file is that should be ELF and is not."""

import re
from typing import Final

_NOT_ELF: Final = {
    b"!<arch>\n": "it is a static archive (ar); link against it, do not install it as a library",
    b"!<thin>\n": "it is a thin static archive (ar)",
    b"BC\xc0\xde": "it is LLVM bitcode, not linked code",
    b"\xca\xfe\xba\xbe": "it is a Mach-O or Java file",
    b"MZ": "it is a Windows PE file",
    b"#!": "it is a script",
}


# Nothing is matched twice: the bytes may be made to be slow.
_LINKER_SCRIPT: Final = re.compile(
    rb"\s*+(?>/\*.*?\*/\s*+)*+(?:INPUT|GROUP|OUTPUT_FORMAT|AS_NEEDED|SECTIONS|VERSION)\b",
    re.DOTALL,
)


def what_it_is(start: bytes) -> str:
    """Why a file that begins so cannot be read as ELF, for its error."""
    for magic, words in _NOT_ELF.items():
        if start.startswith(magic):
            return words
    if _LINKER_SCRIPT.match(start):
        return "it is a linker script; name the library that it points to"
    return "it does not begin with the ELF magic number" if start else "it is empty"
