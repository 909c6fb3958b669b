"""Gates made for a library of this process, and gone through."""

import ctypes
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.linux.memory import ProcessMemory
from libswap.live import gate
from libswap.live.entries import JUMP_SIZE
from libswap.live.gate import Area, Gate, Room
from libswap.live.library import Library
from libswap.live.redirect import Redirect
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

_EXACTLY = 0x100000  # MAP_FIXED_NOREPLACE (mmap(2))
FUNCTION = (
    "#define FUNCTION(name, code) \\\n"
    '    __asm__(".globl " #name "\\n.type " #name ",@function\\n.p2align 4\\n" #name ": " code'
    ' "\\n.size " #name ", . - " #name "\\n");\n'
)
# Their first instructions work only where they know their place: a load that is relative to it, a
# jump over the next ones, and one back to the very first byte.
SOURCE = FUNCTION + (
    '__asm__(".data\\nplace: .long 40\\n.text\\n");\n'
    'FUNCTION(loads, "mov place(%rip), %eax; add %edi, %eax; ret")\n'
    'FUNCTION(jumps, "test %edi, %edi; je 1f; mov $1, %eax; ret; 1: mov $2, %eax; ret")\n'
    'FUNCTION(turns, "dec %edi; jg turns; mov %edi, %eax; ret")\n'
    'FUNCTION(other, "lea 1000(%rdi), %eax; ret")\n'
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A library of this process, with room for gates near it."""

    facts: Library
    calls: ctypes.CDLL
    base: int
    room: int

    def write(self, address: int, data: bytes) -> None:
        with ProcessMemory(os.getpid()) as memory:
            memory.write(address, data)

    def at(self, name: str) -> int:
        return next(s.value for n, s in self.facts.functions.items() if n.name == name)

    def redirect(self, name: str, *, whole: bool = False) -> Redirect:
        symbol = next(s for n, s in self.facts.functions.items() if n.name == name)
        return Redirect(name, symbol.value, 0, symbol.size, whole)

    def area(self, *redirects: Redirect) -> Area:
        """Every entry of them leads to `other`; written, and closed."""
        targets = {self.base + r.old: self.base + self.at("other") for r in redirects}
        made = gate.build(self.facts, self.base, redirects, targets, Room(self.room, self.room))
        assert len(made.contents) <= gate.room(redirects)
        self.write(made.address, made.contents)
        for one in made.gates.values():
            self.write(one.entry, one.closed)
        return made


def load(compiler: Compiler, tmp_path: Path) -> Loaded:
    own = tmp_path / "own.so"  # loaded once for each test, unchanged
    own.write_bytes(compiler.library(SOURCE, "-Wl,-Bsymbolic").read_bytes())
    calls, facts = ctypes.CDLL(str(own)), Library(Image.open(own))
    symbol = next(s for n, s in facts.functions.items() if n.name == "other")
    address = ctypes.cast(calls.other, ctypes.c_void_p).value
    assert address is not None
    base = address - symbol.value
    return Loaded(facts, calls, base, _room_near(base))


def _room_near(base: int) -> int:
    """A page within reach of a jump; it stays, as the library does."""
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _EXACTLY
    for step in (sign * n for n in range(1, 120) for sign in (-1, 1)):
        wanted = (base & ~0xFFF) + (step << 24)
        if call(wanted, mmap.PAGESIZE, rights, flags, -1, 0) == wanted:
            return wanted
    raise AssertionError("no room near the library")


def test_a_closed_gate_runs_the_function_and_the_word_turns_all_of_them(
    compiler: Compiler, tmp_path: Path
) -> None:
    loaded = load(compiler, tmp_path)
    names = {"loads": 45, "jumps": 1, "turns": 0}
    area = loaded.area(
        loaded.redirect("loads"), loaded.redirect("jumps"), loaded.redirect("turns", whole=True)
    )
    functions = {name: getattr(loaded.calls, name) for name in names}
    assert {name: call(5) for name, call in functions.items()} == names
    assert functions["jumps"](0) == 2
    loaded.write(area.word, b"\1\0\0\0")
    assert {name: call(5) for name, call in functions.items()} == dict.fromkeys(names, 1005)
    loaded.write(area.word, bytes(gate.WORD))
    assert {name: call(5) for name, call in functions.items()} == names


@pytest.mark.parametrize("reach", [gate._REACH, 1])
def test_an_open_gate_leads_on_and_its_bytes_can_be_put_back(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: int
) -> None:
    loaded = load(compiler, tmp_path)
    monkeypatch.setattr(gate, "_REACH_OF_TARGETS", reach)
    area = loaded.area(loaded.redirect("loads"))
    (one,) = area.gates.values()
    loaded.write(one.entry, one.open(loaded.base + loaded.at("other")))
    assert loaded.calls.loads(5) == 1005
    loaded.write(one.target, struct.pack("<Q", loaded.base + loaded.at("jumps")))
    assert loaded.calls.loads(5) == (1005 if reach > 1 else 1), "straight, or through the stub"
    loaded.write(one.entry, one.original)
    assert loaded.calls.loads(5) == 45


def test_code_that_cannot_run_elsewhere_is_named(compiler: Compiler) -> None:
    source = FUNCTION + (
        'FUNCTION(unknown, ".byte 0x06, 0x06, 0x06, 0x06, 0x06, 0xc3")\n'
        'FUNCTION(known, "mov $1, %eax; ret")\n'
        'FUNCTION(table, "dec %edi; jg table; jmp *%rax")\n'
    )
    library = Library(Image.open(compiler.library(source)))
    redirects = [
        Redirect(n.name, s.value, 0, s.size, n.name == "table")
        for n, s in library.functions.items() if n.name in ("unknown", "known", "table")
    ]  # fmt: skip
    reasons = gate.unmovable(library, redirects)
    named = {r.name: reasons[r.old] for r in redirects if r.old in reasons}
    assert named == {
        "unknown": "its code cannot be decoded",
        "table": "it jumps to its own first bytes and through a table",
    }


def test_areas_of_several_libraries_ask_words_that_lie_side_by_side() -> None:
    assert gate.layout([100]) == (4096, (0,), (0,))
    assert gate.layout([100, 5000, 4096]) == (4 * 4096 + 4096, (4096, 8192, 16384), (0, 4, 8))


def test_a_jump_goes_two_gibibytes_and_no_further() -> None:
    assert gate.jump(0x1000, 0x1000 + JUMP_SIZE) == b"\xe9\0\0\0\0"
    far = 0x1000 + JUMP_SIZE + (1 << 31)
    assert gate.jump(0x1000, far - 1)[1:] == b"\xff\xff\xff\x7f"
    with pytest.raises(OverflowError):
        gate.jump(0x1000, far)
    one = Gate(0x1000, b"\x90" * 5, 0x3000, 0x2000)
    assert one.open(0x1000 + (1 << 40))[:1] == one.closed[:1] == b"\xe9"
    assert one.target % 8 == 0, "it changes as a whole"
