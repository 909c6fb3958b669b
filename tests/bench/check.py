"""Comparing two builds of a library: in one process, and as whole commands against the peers."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from elftools.elf.elffile import ELFFile

from libswap.abi.compare import compare
from libswap.elf.image import Image
from libswap.elf.library import read_library
from support.compiler import Compiler, has
from tests.bench.section import Section, program, side_by_side

LIBSWAP = str(Path(sys.executable).with_name("libswap"))
DIRECTORY = Path("/usr/lib/x86_64-linux-gnu")
SYSTEM = (("small", "libz.so.1"), ("middle", "libstdc++.so.6"), ("large", "libLLVM-15.so.1"))
STRUCT = "struct s%d { int a, b; }; int f%d(struct s%d *p) { return p->a; }\n"


def run() -> tuple[Section, ...]:
    sections = []
    with tempfile.TemporaryDirectory() as work:
        for size, name in SYSTEM:
            library = DIRECTORY / name
            if library.exists():
                copy = Path(shutil.copy(library, work))
                sections += [_facts(size, library), _commands(size, library, copy)]
        if has("cc") and has("abidiff"):
            sections.append(_with_types(Compiler(Path(work))))
    return tuple(sections)


def _facts(size: str, path: Path) -> Section:
    library = read_library(Image.open(path))
    acts: dict[str, Callable[[], object]] = {
        "`read_library`, all facts": lambda: read_library(Image.open(path)),
        "`compare` of two that were read": lambda: compare(library, library),
    }
    if size != "large":
        acts["pyelftools, names of the dynamic symbols only"] = lambda: _pyelftools(path)
    title = f"In one process: {size} ({path.name}, {len(library.exports):,} exported symbols)"
    rows = side_by_side(acts, rounds=9)
    return Section(title, "One file is read, or two files that were read are compared.", rows)


def _commands(size: str, old: Path, new: Path) -> Section:
    acts = {
        "`libswap check` (with processes and needs)": program(
            [LIBSWAP, "check", str(old), str(new)]
        )
    }
    if has("abidiff"):
        acts["`abidiff`"] = program(["abidiff", str(old), str(new)])
    if has("readelf"):
        acts["`readelf -sVdlhnW`, both"] = _both("readelf", old, new)
    about = (
        "Whole commands, interpreter start included, on a library and a copy of it. readelf lists"
        " and compares nothing; neither peer looks at processes or at what the library needs."
    )
    rows = side_by_side(acts, rounds=7)
    return Section(f"Commands: {size} ({old.name})", about, rows)


def _with_types(compiler: Compiler) -> Section:
    source = "".join(STRUCT % (n, n, n) for n in range(2000))
    old, new = (
        compiler.library(text, "-g", name="libtypes.so")
        for text in (source, source.replace("s7 { int a, b", "s7 { int b, a"))
    )
    acts = {
        "`libswap check`, abidiff included": program(
            [LIBSWAP, "check", str(old), str(new)], status=38
        ),
        "`abidiff`": program(["abidiff", str(old), str(new)], status=4),
    }
    about = "2,000 functions and structures with debug information, one structure reordered."
    return Section("Commands: with types", about, side_by_side(acts, rounds=7))


def _both(name: str, old: Path, new: Path) -> Callable[[], None]:
    acts = [program([name, "-sVdlhnW", str(path)]) for path in (old, new)]

    def act() -> None:
        for one in acts:
            one()

    return act


def _pyelftools(path: Path) -> int:
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        return sum(len(symbol.name) for symbol in section.iter_symbols())
