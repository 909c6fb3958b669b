import pytest

from libswap.elf.image import Image
from libswap.live.entries import Entries
from libswap.live.library import Library
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

FUNCTIONS = """
#define FUNCTION(name, code) \\
    __asm__(".globl " #name "\\n.type " #name ",@function\\n" #name ": " code \\
            "\\n.size " #name ", . - " #name "\\n");
FUNCTION(loops_to_entry, "1: dec %edi; jnz 1b; ret")
FUNCTION(loops_behind_entry, "endbr64; 1: dec %edi; jnz 1b; ret")
FUNCTION(looks_like_a_loop, "mov $0xfdeb, %eax; jmp *%rdi")
FUNCTION(cannot_be_decoded, "mov $0xfdeb, %eax; .byte 0x06")
FUNCTION(goes_on, "xor %eax, %eax; test %edi, %edi; jz 1f; inc %eax; 1: ret")
"""


@pytest.mark.parametrize(
    ("name", "jumps"),
    [
        ("loops_to_entry", True),
        ("loops_behind_entry", True),
        ("looks_like_a_loop", False),
        ("cannot_be_decoded", True),
        ("goes_on", False),
    ],
)
def test_only_real_jumps_to_the_first_bytes_count_where_the_code_can_be_decoded(
    compiler: Compiler, name: str, *, jumps: bool
) -> None:
    library = Library(Image.open(compiler.library(FUNCTIONS)))
    symbol = next(s for n, s in library.functions.items() if n.name == name)
    assert Entries(library).jumps_into(symbol.value, symbol.size) is jumps
