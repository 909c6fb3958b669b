"""A process that lays a patch into its own memory as it is told: linking tried without ptrace."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from libswap.elf.image import Image
from libswap.elf.relocatable import read_relocatable
from libswap.elf.subprograms import subprograms
from libswap.patch.bind import Entry, bind
from libswap.patch.link import Wishes, link
from libswap.patch.patch import (
    Import,
    Indirect,
    Memory,
    Module,
    Patch,
    Protection,
    TlsBlock,
    TlsModule,
)
from libswap.patch.target import Target

_PROT = {Protection.CODE: 5, Protection.CONSTANTS: 1, Protection.DATA: 3}
_MASK = (1 << 64) - 1


def linked(target: Path, *objects: Path, libraries: Sequence[Path] = (), **wishes: object) -> Patch:
    """Objects linked against a target file."""
    images = [Image.open(o) for o in objects]
    found = [read_relocatable(image) for image in images]
    names = {s.name: None for one in found for s in one.symbols if s.is_function}
    told = {n: s.results for i in images for n, s in subprograms(i, dict(names)).items()}
    known = [Image.open(p) for p in libraries]
    return link(found, Target(Image.open(target), libraries=lambda: known), Wishes(**wishes), told)  # type: ignore[arg-type]


class Host(subprocess.Popen[str]):
    """A running fixtures/patch/host.c."""

    def __init__(self, program: Path, module: str = "") -> None:
        super().__init__([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready"
        self.module = module
        self.base = self.ask(f"base {module}")

    def ask(self, words: str) -> int:
        assert self.stdin is not None
        self.stdin.write(words + "\n")
        self.stdin.flush()
        return int(self._line())

    def scenario(self, number: int = 0) -> int:
        return self.ask(f"scenario {number}")

    def apply(self, patch: Patch, memory: int = 0, *, jump: bool = True) -> int:
        """Lay it into memory, run its constructors, redirect the entries."""
        memory = memory or self._room(patch.size)
        values = [self._value(r, memory) for r in patch.references]
        entries = [Entry(self.base + r.vaddr, self._code(r.vaddr, r.size)) for r in patch.replaced]
        for region in bind(patch, memory, values, entries):
            assert self.ask(f"map {region.address:x} {region.size:x}") == region.address
            for at in range(0, len(region.data), 4096):
                piece = region.data[at : at + 4096]
                self.ask(f"write {region.address + at:x} {piece.hex()}")
            prot = _PROT[region.protection]
            assert self.ask(f"protect {region.address:x} {region.size:x} {prot}") == 0
        if patch.unwind:
            register = self.ask("symbol __register_frame")
            if register:
                self.ask(f"call {register:x} {memory + patch.unwind.offset} 0")
        for offset in patch.hooks.constructors:
            self.ask(f"call {memory + offset:x} 0 0")
        if jump:
            for replaced in patch.replaced:
                self._redirect(self.base + replaced.vaddr, memory + replaced.entry)
        return memory

    def call(self, address: int, first: int = 0, second: int = 0) -> int:
        return self.ask(f"call {address:x} {first} {second}")

    def _redirect(self, entry: int, target: int) -> None:
        page, size = entry & ~4095, 8192
        assert self.ask(f"protect {page:x} {size:x} 7") == 0
        distance = (target - entry - 5).to_bytes(4, "little", signed=True)
        self.ask(f"write {entry:x} e9{distance.hex()}")

    def _code(self, vaddr: int, size: int) -> bytes:
        words = [
            self.ask(f"read {self.base + vaddr + at:x}") & _MASK for at in range(0, size + 16, 8)
        ]
        return b"".join(w.to_bytes(8, "little") for w in words)[: max(size, 5)]

    def _room(self, size: int) -> int:
        """Free memory a little above the module."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        edges = [tuple(int(x, 16) for x in line.split()[0].split("-")) for line in lines]
        above = [end for _, end in edges if end > self.base]
        for end in above:
            start = end + 0x10000
            if all(high <= start or low >= start + size for low, high in edges):
                return start
        raise AssertionError("no room")

    def _value(self, reference: object, memory: int) -> int:
        match reference:
            case Memory():
                return memory
            case Module():
                return self.base
            case Import(name=name):
                found = self.ask(f"symbol {name}") & _MASK
                assert found, name
                return found
            case Indirect(vaddr=vaddr):
                return self.call(self.base + vaddr) & _MASK
            case TlsModule():
                return self.ask(f"tls {self.module}")
            case TlsBlock():
                return self.ask(f"block {self.module}")
            case _:
                raise AssertionError(reference)

    def _line(self) -> str:
        assert self.stdout is not None
        return self.stdout.readline().strip()


@contextmanager
def host(program: Path, module: str = "") -> Iterator[Host]:
    """A host that is killed in the end, if it has not ended by itself."""
    process = Host(program, module)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
