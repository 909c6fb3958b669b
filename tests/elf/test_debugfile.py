import lzma
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.elf.debugfile import debug_link, with_symbols
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.elf.symbols import static_symbols
from libswap.linux.rooted import Root
from support.compiler import Compiler, has

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.skipif(not has("objcopy"), reason="no objcopy (binutils)"),
]

SOURCE = "static int hidden(int n) { return n + 1; }\nint shown(int n) { return hidden(n); }\n"


def objcopy(*words: str | Path) -> None:
    subprocess.run(["objcopy", *words], check=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "opt").mkdir()
    return tmp_path


@pytest.fixture
def root(tree: Path) -> Iterator[Root]:
    with Root.open(str(tree)) as opened:
        yield opened


def split(compiler: Compiler, tree: Path, debug: str, *flags: str) -> Image:
    """A stripped library at /opt/lib.so in `tree`, and its symbols in the file `debug`."""
    made = compiler.library(SOURCE, "-O0", *flags)
    stripped, symbols = tree / "opt/lib.so", tree / debug
    symbols.parent.mkdir(parents=True, exist_ok=True)
    objcopy("--only-keep-debug", made, symbols)
    objcopy("--strip-all", f"--add-gnu-debuglink={symbols}", made, stripped)
    return Image.open(stripped)


def names(image: Image | None) -> set[str]:
    return {symbol.name for symbol in static_symbols(image)} if image else set()


def test_a_file_with_symbols_is_its_own_debug_file(compiler: Compiler, root: Root) -> None:
    image = Image.open(compiler.library(SOURCE))
    assert with_symbols(image, "/opt/lib.so", [root]) is image


@pytest.mark.parametrize(
    "place", ["opt/lib.debug", "opt/.debug/lib.debug", "usr/lib/debug/opt/lib.debug"]
)
@pytest.mark.parametrize("flag", ["-Wl,--build-id", "-Wl,--build-id=none"])
def test_the_linked_file_is_found(
    compiler: Compiler, tree: Path, root: Root, place: str, flag: str
) -> None:
    image = split(compiler, tree, place, flag)
    assert debug_link(image) is not None
    assert "hidden" in names(with_symbols(image, "/opt/lib.so", [root]))


def test_the_file_of_the_build_id_is_found(compiler: Compiler, tree: Path, root: Root) -> None:
    image = split(compiler, tree, "opt/lib.debug", "-Wl,--build-id=0xabcdef")
    assert build_id(image) == "abcdef"
    home = tree / "usr/lib/debug/.build-id/ab/cdef.debug"
    home.parent.mkdir(parents=True)
    (tree / "opt/lib.debug").rename(home)
    assert "hidden" in names(with_symbols(image, "/elsewhere/lib.so", [root]))


@pytest.mark.parametrize("flags", [("-Wl,--build-id", "-O1"), ("-Wl,--build-id=none", "-O1")])
def test_the_symbols_of_another_build_are_not_taken(
    compiler: Compiler, tree: Path, root: Root, flags: tuple[str, ...]
) -> None:
    image = split(compiler, tree, "opt/lib.debug", flags[0])
    objcopy("--only-keep-debug", compiler.library(SOURCE, *flags), tree / "opt/lib.debug")
    assert with_symbols(image, "/opt/lib.so", [root]) is None


def test_a_link_out_of_the_root_is_not_followed(
    compiler: Compiler, tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = split(compiler, tree, "opt/lib.debug", "-Wl,--build-id")
    outside = tmp_path_factory.mktemp("outside") / "lib.debug"
    shutil.move(tree / "opt/lib.debug", outside)
    (tree / "opt/lib.debug").symlink_to(outside)
    with Root.open(str(tree)) as root:
        assert with_symbols(image, "/opt/lib.so", [root]) is None


def test_the_packed_symbols_inside_a_file_are_found(
    compiler: Compiler, tree: Path, root: Root
) -> None:
    image = split(compiler, tree, "lib.debug")
    packed = tree / "packed.xz"
    packed.write_bytes(lzma.compress((tree / "lib.debug").read_bytes()))
    target = tree / "opt/lib.so"
    objcopy(f"--add-section=.gnu_debugdata={packed}", target)
    (tree / "lib.debug").unlink()
    image = Image.open(target)
    assert "hidden" in names(with_symbols(image, "/opt/lib.so", [root]))


def test_packed_symbols_that_are_junk_or_a_bomb_are_none(
    compiler: Compiler, tree: Path, root: Root
) -> None:
    split(compiler, tree, "lib.debug")
    target = tree / "opt/lib.so"
    for number, data in enumerate([os.urandom(500), lzma.compress(bytes(1 << 27), preset=0)]):
        packed = tree / "packed.xz"
        packed.write_bytes(data)
        filled = tree / f"opt/{number}.so"
        objcopy(f"--add-section=.gnu_debugdata={packed}", target, filled)
        assert with_symbols(Image.open(filled), "/opt/lib.so", [root]) is None
