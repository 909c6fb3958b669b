"""Structures by their debug information, in the file or beside it."""

import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from libswap.elf import records as reading
from libswap.elf.dwarf import readable
from libswap.elf.image import Image
from libswap.elf.records import Records, records
from libswap.linux.budget import ENDLESS, Budget
from libswap.live.module import LibraryCache
from libswap.operations.survival import Survival, Verdict, survival
from libswap.survival import layouts
from libswap.survival.evidence import Evidence, Weight
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

STORE = "survival/store.c"
WHOLE = (
    "{} bytes, count at {} (8 bytes), name at {} (8 bytes), flags at {} ({} bytes),"
    " total at {} (8 bytes)"
)
HEAD = "#include <stdlib.h>\n"


def of(compiler: Compiler, source: str, *flags: str) -> Records:
    image = Image(compiler.library(source, "-g", "-O1", *flags).read_bytes(), source[:20])
    names = {"store_open", "f", "g"}
    found = records(image, names, ENDLESS)
    assert found is not None
    return found


def changed(compiler: Compiler, old: str, new: str) -> tuple[Evidence, ...]:
    return layouts.compared(of(compiler, HEAD + old), of(compiler, HEAD + new))[1]


@pytest.mark.parametrize(
    ("change", "name", "old", "new"),
    [
        ("ADDED -DNARROWED", "struct store",
         WHOLE.format(48, 16, 24, 32, 8, 40), WHOLE.format(56, 24, 32, 40, 4, 48)),
        ("MOVED", "struct store", "48 bytes, count at 16 (8 bytes), name at 24 (8 bytes)",
         "48 bytes, count at 24 (8 bytes), name at 16 (8 bytes)"),
        ("NARROWED", "struct store", "48 bytes, flags at 32 (8 bytes)",
         "48 bytes, flags at 32 (4 bytes)"),
        ("GROWN", "struct store", "48 bytes", "80 bytes"),
        ("INNER", "struct item", "16 bytes, value at 8 (8 bytes)",
         "24 bytes, value at 16 (8 bytes)"),
    ],
)  # fmt: skip
def test_an_opaque_structure_that_changed_is_named_with_its_members(
    compiler: Compiler, change: str, name: str, old: str, new: str
) -> None:
    count, found = layouts.compared(
        of(compiler, STORE), of(compiler, STORE, *f"-D{change}".split())
    )
    assert count == 0
    assert found == (Evidence("type-changed", Weight.DANGER, name, old, new),)


def test_alike_structures_are_counted(compiler: Compiler) -> None:
    count, [found] = layouts.compared(of(compiler, STORE), of(compiler, STORE, "-DFIXED"))
    assert count == 3
    assert (found.kind, found.weight) == ("types-alike", Weight.NOTE)


def test_what_only_lies_on_the_stack_does_not_count(compiler: Compiler) -> None:
    code = """struct work {{ int a{more}; }};
    static __attribute__((noinline)) int step(struct work *w) {{ return w->a++; }}
    int f(void) {{ struct work w = {{ 0 }}; step(&w); return step(&w); }}
    """
    assert changed(compiler, code.format(more=""), code.format(more=", b")) == ()


def test_what_a_handle_of_another_type_leads_to_is_a_doubt(compiler: Compiler) -> None:
    code = """struct inner {{ int a{more}; }};
    void *f(void) {{ struct inner *i = malloc(sizeof *i); if (i) i->a = 1; return i; }}
    """
    [found] = changed(compiler, code.format(more=""), code.format(more=", b"))
    assert (found.weight, found.subject) == (Weight.DOUBT, "struct inner")


def test_a_member_where_nothing_was_is_a_doubt(compiler: Compiler) -> None:
    code = "struct s {{ char a; {more} long b; }}; long f(struct s *s) {{ return s->b; }}\n"
    [found] = changed(compiler, code.format(more=""), code.format(more="char late;"))
    assert (found.weight, found.new) == (Weight.DOUBT, "late at 1 (1 bytes)")


def test_nameless_structures_bit_fields_arrays_and_circles(compiler: Compiler) -> None:
    code = """typedef struct {{
      unsigned a : 3, b : {bits};
      union {{ int i; struct {{ short lo, hi; }}; }};
      long row[{rows}];
    }} thing;
    struct ring {{ struct ring *next; thing *of; }};
    thing *f(struct ring *r) {{ return r->next->of; }}
    """
    assert changed(compiler, code.format(bits=5, rows=2), code.format(bits=5, rows=2))[0].kind == (
        "types-alike"
    )
    [wider] = changed(compiler, code.format(bits=5, rows=2), code.format(bits=7, rows=2))
    assert (wider.subject, wider.old) == ("thing", "24 bytes, b at 0.3 (5 bits)")
    [longer] = changed(compiler, code.format(bits=5, rows=2), code.format(bits=5, rows=3))
    assert longer.new == "32 bytes, row at 8 (24 bytes)"


def split(compiler: Compiler, work: Path, *flags: str) -> Path:
    """A stripped library whose debug information lies beside it."""
    whole = compiler.library(STORE, "-g", "-O2", *flags)
    work.mkdir()
    debug, stripped = work / "libstore.so.debug", work / "libstore.so"
    subprocess.run(["objcopy", "--only-keep-debug", whole, debug], check=True)
    subprocess.run(["strip", "-o", stripped, whole], check=True)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", stripped], check=True)
    return stripped


def judged(compiler: Compiler, work: Path, change: str, *flags: str) -> Survival:
    cache = LibraryCache()
    return survival(
        cache.open(str(split(compiler, work / "old"))),
        cache.open(str(split(compiler, work / "new", f"-D{change}", *flags))),
    )


def test_separate_debug_files_are_found(compiler: Compiler, tmp_path: Path) -> None:
    found = judged(compiler, tmp_path, "GROWN")
    assert found.verdict is Verdict.UNSAFE
    assert "struct store" in {e.subject for e in found.evidence if e.kind == "type-changed"}


def test_alike_structures_stand_for_code_that_is_not_recognised(
    compiler: Compiler, tmp_path: Path
) -> None:
    found = judged(compiler, tmp_path, "FIXED", "-O0", "-fno-omit-frame-pointer")
    assert found.verdict is Verdict.LIKELY, found
    assert found.compared is not None
    assert found.compared.types == 3


@pytest.mark.parametrize("damage", [b"\0", b"\xff", b"\x80"])
def test_damaged_debug_information_says_nothing(compiler: Compiler, damage: bytes) -> None:
    data = bytearray(compiler.library(STORE, "-g", "-O1").read_bytes())
    section = next(s for s in Image(bytes(data), "whole").sections if s.name == ".debug_abbrev")
    data[section.offset : section.offset + section.size] = damage * section.size
    found = records(Image(bytes(data), "damaged"), {"store_open"}, ENDLESS)
    assert found is None or found.handled == {}


def test_the_time_for_it_is_bounded(compiler: Compiler) -> None:
    image = Image(compiler.library(STORE, "-g", "-O1").read_bytes(), "whole")
    assert records(image, {"store_open"}, Budget(processor=0)) is None


class Counted(Budget):
    """One that never ends, and knows how often it was asked."""

    asked = 0

    def check(self) -> None:
        type(self).asked += 1


def test_the_time_is_asked_for_within_a_unit(compiler: Compiler) -> None:
    image = Image(compiler.library(STORE, "-g", "-O1").read_bytes(), "whole")
    assert records(image, {"store_open"}, Counted()) is not None
    assert Counted.asked > 100  # of one unit


@pytest.mark.parametrize("limit", ["MAX_UNIT", "_MOST_ENTRIES"])
def test_more_than_can_be_held_says_nothing(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    image = Image(compiler.library(STORE, "-g", "-O1").read_bytes(), "whole")
    monkeypatch.setattr(reading, limit, 100)
    assert records(image, {"store_open"}, ENDLESS) is None


def test_compressed_debug_information_counts_with_its_full_size(compiler: Compiler) -> None:
    data = bytearray(compiler.library(STORE, "-g", "-O1", "-gz=zlib").read_bytes())
    section = next(s for s in Image(bytes(data), "whole").sections if s.name == ".debug_info")
    assert readable(Image(bytes(data), "whole"))
    struct.pack_into("<Q", data, section.offset + 8, 1 << 30)
    assert not readable(Image(bytes(data), "bomb"))


@pytest.mark.parametrize(("size", "fits"), [(1 << 20, True), ((1 << 28) + 1, False)])
def test_debug_information_compressed_the_old_way_is_not_believed_how_large_it_is(
    compiler: Compiler, tmp_path: Path, size: int, *, fits: bool
) -> None:
    contents, whole = tmp_path / "contents", compiler.library(STORE, "-g", "-O1")
    stream = zlib.compressobj(1)
    pieces = [stream.compress(bytes(min(1 << 20, size - at))) for at in range(0, size, 1 << 20)]
    contents.write_bytes(b"ZLIB" + bytes(7) + b"\x64" + b"".join(pieces) + stream.flush())
    subprocess.run(
        ["objcopy", "--update-section", f".debug_str={contents}", "--rename-section",
         ".debug_str=.zdebug_str", whole, tmp_path / "bomb"], check=True,
    )  # fmt: skip
    assert readable(Image.open(tmp_path / "bomb")) is fits


def test_nameless_structures_within_each_other_end(compiler: Compiler) -> None:
    levels = "".join(
        f"struct s{n} {{ struct s{n - 1} nameless, of_no_name, without_one, anonymous; }};\n"
        for n in range(1, 14)
    )
    last = "void f(struct s13 *p) { p->nameless = p[1].nameless; }"
    source = f"struct s0 {{ char c; }};\n{levels}{last}"
    data = compiler.library(source, "-g", "-O1").read_bytes()
    for name in (b"nameless", b"of_no_name", b"without_one", b"anonymous"):
        data = data.replace(b"\0" + name + b"\0", bytes(len(name) + 2))
    assert records(Image(data, "nested"), {"f"}, ENDLESS) is None
