import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.elf.closure import Closure, Missing, closure
from libswap.elf.image import Image
from libswap.elf.library import Libraries
from libswap.elf.search import Requester, Search
from libswap.linux.rooted import Root
from support.compiler import Compiler, has

pytestmark = pytest.mark.compiler

LEAF = "int leaf(void) { return 1; }\n"
MIDDLE = "int leaf(void);\nint middle(void) { return leaf(); }\n"
PROGRAM = "int middle(void);\nint main(void) { return middle(); }\n"


@pytest.fixture
def machine() -> Iterator[Root]:
    with Root.open("/") as root:
        yield root


class Bench:
    """A leaf, a library that needs it, and a program that needs that, in directories of a test."""

    def __init__(self, compiler: Compiler, tree: Path) -> None:
        self.compiler, self.tree = compiler, tree
        self.leaf = compiler.library(LEAF, name="libleaf.so", soname="libleaf.so")

    def build(self, leaf_in: str, middle_flags: list[str], program_flags: list[str]) -> Path:
        """A program in bin/, its library in lib/, the leaf in `leaf_in`."""
        for directory in ("bin", "lib", leaf_in):
            (self.tree / directory).mkdir(parents=True, exist_ok=True)
        made = self.compiler.library(
            MIDDLE, str(self.leaf), *middle_flags, name="libmiddle.so", soname="libmiddle.so"
        )
        program = self.compiler.program(
            PROGRAM, str(made), *program_flags, "-Wl,--allow-shlib-undefined", name="program"
        )
        shutil.copy(self.leaf, self.tree / leaf_in)
        shutil.copy(made, self.tree / "lib")
        return Path(shutil.copy(program, self.tree / "bin"))


@pytest.fixture
def bench(compiler: Compiler, tmp_path: Path) -> Bench:
    return Bench(compiler, tmp_path)


def ours(root: Root, program: Path, library_path: str = "") -> Closure:
    image, libraries = Image.open(program), Libraries()
    search = Search.glibc(root, image.target, library_path=library_path)
    return closure(search, [Requester(str(program.parent), libraries.of(image))], libraries)


def paths(found: Closure) -> dict[str, str]:
    return {posixpath.basename(lib.name): posixpath.normpath(lib.name) for lib in found.libraries}


def theirs(program: Path, library_path: str = "") -> dict[str, str]:
    """What the dynamic linker itself says."""
    done = subprocess.run(
        [program], env={"LD_TRACE_LOADED_OBJECTS": "1", "LD_LIBRARY_PATH": library_path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.findall(r"(\S+) => (/\S+) \(", done.stdout)
    return {name: posixpath.normpath(path) for name, path in found}


RPATH = "-Wl,--disable-new-dtags,-rpath,"
RUNPATH = "-Wl,--enable-new-dtags,-rpath,"


@pytest.mark.parametrize(
    ("leaf_in", "middle", "program", "library_path"),
    [
        ("lib", [], [RPATH + "$ORIGIN/../lib"], ""),
        ("lib", [RUNPATH + "$ORIGIN"], [RUNPATH + "${ORIGIN}/../lib"], ""),
        ("lib", [], [RUNPATH + "$ORIGIN/../lib"], ""),  # a RUNPATH is not inherited
        ("deep", [RPATH + "$ORIGIN/../deep"], [RPATH + "$ORIGIN/../lib"], ""),
        ("deep", [RUNPATH + "/nowhere"], [RPATH + "$ORIGIN/../lib:$ORIGIN/../deep"], ""),
        ("lib", [], [], "{tree}/lib"),
        ("deep", [], [], "/nowhere:{tree}/lib;{tree}/deep"),
        ("lib/x86_64-linux-gnu", [], [RPATH + "$ORIGIN/../lib:$ORIGIN/../$LIB"], ""),
        ("p-x86_64", [], [RPATH + "$ORIGIN/../lib:$ORIGIN/../p-$PLATFORM"], ""),
    ],
)
def test_the_search_agrees_with_the_dynamic_linker(
    bench: Bench, leaf_in: str, middle: list[str], program: list[str], library_path: str
) -> None:  # fmt: skip
    made = bench.build(leaf_in, middle, program)
    library_path = library_path.format(tree=bench.tree)
    with Root.open("/") as machine:
        found = paths(ours(machine, made, library_path))
    expected = theirs(made, library_path)
    assert expected.pop("libc.so.6") == found.pop("libc.so.6")
    found.pop("ld-linux-x86-64.so.2")
    assert found == expected


def test_what_is_not_found_is_named_with_who_needs_it(bench: Bench, machine: Root) -> None:
    program = bench.build("deep", [], [RPATH + "$ORIGIN/../lib"])
    middle = f"{bench.tree}/bin/../lib/libmiddle.so"
    assert ours(machine, program).missing == (Missing("libleaf.so", middle),)


def test_a_library_for_another_machine_is_passed_by(bench: Bench, machine: Root) -> None:
    program = bench.build("deep", [], [RPATH + "$ORIGIN/../wrong:$ORIGIN/../lib:$ORIGIN/../deep"])
    wrong = bench.tree / "wrong/libleaf.so"
    wrong.parent.mkdir()
    data = bytearray(bench.leaf.read_bytes())
    data[18] = 183  # e_machine: EM_AARCH64
    wrong.write_bytes(data)
    assert paths(ours(machine, program))["libleaf.so"] == f"{bench.tree}/deep/libleaf.so"


def test_a_damaged_library_is_told_and_not_passed_by(bench: Bench, machine: Root) -> None:
    program = bench.build("deep", [], [RPATH + "$ORIGIN/../wrong:$ORIGIN/../lib:$ORIGIN/../deep"])
    (bench.tree / "wrong").mkdir()
    (bench.tree / "wrong/libleaf.so").write_text("GROUP ( libleaf.so )")
    (missing,) = ours(machine, program).missing
    assert "linker script" in missing.damage


def test_links_are_followed_inside_the_root_only(bench: Bench) -> None:
    bench.build("usr/lib", [], [])
    outside, inside = bench.tree / "usr/lib/libleaf.so", bench.tree / "inner"
    (inside / "usr/lib").mkdir(parents=True)
    shutil.copy(bench.tree / "lib/libmiddle.so", inside / "usr/lib")
    leaf = inside / "usr/lib/libleaf.so"
    leaf.symlink_to(outside)
    with Root.open(str(inside)) as root:
        made = inside / "usr/lib/libmiddle.so"
        assert {m.name for m in ours(root, made).missing} == {"libleaf.so"}
        leaf.unlink()
        (inside / "real").mkdir()
        shutil.copy(bench.leaf, inside / "real/libleaf.so")
        leaf.symlink_to("/real/libleaf.so")
        assert paths(ours(root, made))["libleaf.so"] == "/usr/lib/libleaf.so"


def test_a_better_processor_finds_its_own_build_first(bench: Bench, machine: Root) -> None:
    program = bench.build("lib", [], [RPATH + "$ORIGIN/../lib"])
    better = bench.tree / "lib/glibc-hwcaps/x86-64-v3"
    better.mkdir(parents=True)
    shutil.copy(bench.leaf, better)
    image, libraries = Image.open(program), Libraries()
    chain = [Requester(str(program.parent), libraries.of(image))]
    for level, expected in ((2, "lib/libleaf.so"), (4, "lib/glibc-hwcaps/x86-64-v3/libleaf.so")):
        search = Search.glibc(machine, image.target, level=level)
        found = search.find("libleaf.so", chain)
        assert found is not None
        assert posixpath.normpath(found.path) == f"{bench.tree}/{expected}"


def test_musl_takes_its_directories_from_its_own_file(bench: Bench, tmp_path: Path) -> None:
    bench.build("odd", [], [])
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld-musl-x86_64.path").write_text("/lib\n/odd\n")
    with Root.open(str(tmp_path)) as root:
        search = Search.of_musl(root, Image.open(bench.leaf).target)
        assert list(search.candidates("libleaf.so", [])) == ["/lib/libleaf.so", "/odd/libleaf.so"]
        found = search.find("libleaf.so", [])
        assert found is not None
        assert found.path == "/odd/libleaf.so"


def test_libraries_without_a_soname_are_told_apart(bench: Bench, machine: Root) -> None:
    needs = bench.tree / "libneeds.so"
    for name in ("a", "b"):
        shutil.copy(bench.compiler.library(f"int {name};\n", name=f"lib{name}.so"), bench.tree)
    flags = ["-Wl,--no-as-needed", RPATH + "$ORIGIN", f"-L{bench.tree}", "-la", "-lb"]
    shutil.copy(bench.compiler.library("int needs;\n", *flags, name="libneeds.so"), needs)
    assert {"liba.so", "libb.so"} <= set(paths(ours(machine, needs)))


def test_musl_is_its_own_c_library(bench: Bench, machine: Root) -> None:
    search = Search.of_musl(machine, Image.open(bench.leaf).target)
    for name in ("libc.so", "libc.musl-x86_64.so.1", "libpthread.so.0"):
        assert list(search.candidates(name, [])) == ["/lib/ld-musl-x86_64.so.1"]


def test_libraries_that_need_each_other_end(bench: Bench, machine: Root, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    flags = [RPATH + "$ORIGIN", "-nostdlib", "-Wl,--no-as-needed"]
    stub = bench.compiler.library("int one;\n", "-nostdlib", name="libone.so", soname="libone.so")
    two = bench.compiler.library(
        "int two;\n", *flags, str(stub), name="libtwo.so", soname="libtwo.so"
    )
    one = bench.compiler.library(
        "int one;\n", *flags, str(two), name="libone.so", soname="libone.so"
    )
    for made in (one, two):
        shutil.copy(made, ring)
    assert set(paths(ours(machine, ring / "libone.so"))) == {"libtwo.so"}


@pytest.mark.skipif(not has("ldconfig"), reason="no ldconfig")
def test_the_cache_of_a_root_is_read(bench: Bench, tmp_path: Path) -> None:
    bench.build("opt/odd", [], [])
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.conf").write_text("/opt/odd\n")
    subprocess.run(["ldconfig", "-r", tmp_path, "-X"], check=True, capture_output=True)
    with Root.open(str(tmp_path)) as root:
        search = Search.glibc(root, Image.open(bench.leaf).target)
        found = search.find("libleaf.so", [])
    assert found is not None
    assert found.path == "/opt/odd/libleaf.so"
