"""Files that somebody made who means harm: libraries, patches, records, configurations."""

import json
import string
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from libswap.elf.frames import frames
from libswap.elf.image import Image
from libswap.elf.ldcache import Cache
from libswap.elf.library import read_library
from libswap.elf.notes import notes
from libswap.elf.relocatable import read_relocatable
from libswap.elf.subprograms import subprograms
from libswap.errors.base import InvalidElf, LibswapError
from libswap.errors.handles import HandlesInvalid
from libswap.errors.watch import InvalidConfiguration
from libswap.fleet import record as rollouts
from libswap.fleet.rollout import Machine, Request, Rollout
from libswap.install import journal, records
from libswap.install.history import Operation, Outcome
from libswap.install.journal import Begin
from libswap.install.records import Malformed
from libswap.install.transaction import Caller, Kind, Strategy, Transaction
from libswap.linux.files import FileId
from libswap.live.draining.reading import SHIPPED, read
from libswap.live.library import Library
from libswap.operations.deployments import Deployment, Drop
from libswap.operations.patch_build import Request as Build
from libswap.operations.patch_build import build
from libswap.patch.file import decode, encode
from libswap.survival.examination import examine
from libswap.survival.sources import Source
from libswap.watch.configuration import parse
from libswap.watch.manifest import parse as parse_manifest
from support.compiler import Compiler
from support.fuzzing import NUMBERS, campaign, with_one_changed

Draw = Callable[[st.SearchStrategy[Any]], Any]
CODE = """
#include <stdlib.h>
struct node { struct node *next; int value, size; };
static struct node *first;
struct node *node_new(int value) {
    struct node *n = calloc(1, sizeof *n);
    n->next = first; n->value = value + EXTRA; n->size = 3;
    return first = n;
}
int node_sum(const struct node *n) {
    int sum = 0;
    for (; n; n = n->next) sum += n->value * n->size;
    switch (sum) { case 1: return 7; case 2: return 9; case 3: return 4; case 4: return 1;
                   case 5: return sum * 3; default: return sum; }
}
int (*const table[])(const struct node *) = { node_sum, 0 };
"""


# Libraries. What tests/elf/test_mutations.py reads is read here once more in the long form only.


@pytest.fixture(scope="module")
def library(compiler: Compiler) -> bytes:
    return compiler.library(CODE, "-O2", "-g", "-DEXTRA=0").read_bytes()


@pytest.fixture(scope="module")
def newer(compiler: Compiler) -> bytes:
    return compiler.library(CODE, "-O2", "-g", "-DEXTRA=1").read_bytes()


@pytest.fixture(scope="module")
def unlinked(compiler: Compiler) -> bytes:
    return compiler.object(CODE, "-O2", "-g", "-DEXTRA=0", "-ffunction-sections").read_bytes()


@st.composite
def damage(draw: Draw) -> tuple[tuple[float, bytes], ...]:
    """Places, as parts of the whole, and what is written there: numbers of a format, or noise."""
    number = st.tuples(NUMBERS, st.sampled_from([1, 2, 4, 8])).map(
        lambda n: (n[0] % (1 << 8 * n[1])).to_bytes(n[1], "little")
    )
    one = st.tuples(st.floats(0, 1, exclude_max=True), number | st.binary(min_size=1, max_size=16))
    return tuple(draw(st.lists(one, min_size=1, max_size=8)))


def _damaged(
    data: bytes, damage: tuple[tuple[float, bytes], ...], start: int = 0, end: int | None = None
) -> bytes:
    changed = bytearray(data)
    end = len(data) if end is None else end
    for place, written in damage:
        at = start + int(place * (end - start))
        changed[at : at + len(written)] = written
    return bytes(changed[: len(data)])


def _everything_is_read(data: bytes) -> None:
    try:
        image = Image(data, "hostile")
    except InvalidElf:
        return
    for reader in (
        read_library, frames, lambda i: list(notes(i)), lambda i: i.sections, read_relocatable,
        lambda i: subprograms(i, {"node_new": None, "node_sum": None}), _as_loaded,
    ):  # fmt: skip
        with suppress(LibswapError):
            reader(image)


def _as_loaded(image: Image) -> object:
    found = Library(image)
    return found.exported, found.dynamic


def test_a_library_with_debug_information_damaged_anywhere(library: bytes) -> None:
    campaign(lambda d: _everything_is_read(_damaged(library, d)), damage(), 150)


def test_a_library_whose_tables_are_damaged(library: bytes) -> None:
    campaign(lambda d: _everything_is_read(_damaged(library, d, 0, 0x800)), damage(), 100)


def test_debug_information_and_section_headers_that_are_damaged(library: bytes) -> None:
    """They lie behind all that is loaded."""
    loaded = max(s.offset + s.filesz for s in Image(library, "whole").loads)
    campaign(lambda d: _everything_is_read(_damaged(library, d, loaded)), damage(), 200)


def test_an_object_file_that_is_damaged(unlinked: bytes) -> None:
    campaign(lambda d: _everything_is_read(_damaged(unlinked, d)), damage(), 100)


def test_code_that_is_damaged_is_compared(library: bytes, newer: bytes) -> None:
    old = Source(Image(library, "old"))
    (text,) = (s for s in Image(newer, "new").loads if s.flags & 1)

    def check(damage: tuple[tuple[float, bytes], ...]) -> None:
        for data in (_damaged(newer, damage, text.offset, text.offset + text.filesz),
                     _damaged(newer, damage)):  # fmt: skip
            with suppress(InvalidElf):
                new = Source(Image(data, "new"))
                examine(old, new, seconds=5.0)
                examine(new, old, seconds=5.0)

    campaign(check, damage(), 100)


def test_a_cache_of_the_dynamic_linker_of_any_bytes() -> None:
    head = b"glibc-ld.so.cache1.1"
    campaign(lambda data: Cache.parse(head + data), st.binary(max_size=400), 200)


# Records with right checksums: the journal, the history, the watcher's and the fleet's.

TRANSACTION = Transaction("id", Kind.INSTALL, 1.0, Caller(0, "root", None), Strategy.RENAME, ())
DEPLOYMENT = Deployment("1", "/drop", "/lib", "live", 1.0, (Drop("x", FileId(1, 2), 3, 4),))
REQUEST = Request(source="/x", sha256="0" * 64, destination="/lib/x", inventories=("hosts",))
ROLLOUT = Rollout(id="1", started=1.0, request=REQUEST, machines=(Machine("a"),))
LINES = (Begin(TRANSACTION), Operation(TRANSACTION, Outcome.DONE, 1.0), DEPLOYMENT, ROLLOUT)


@st.composite
def lines(draw: Draw) -> tuple[type, bytes]:
    value = draw(st.sampled_from(LINES))
    found = json.loads(records.line(value).partition(b" ")[2])
    for _ in range(draw(st.integers(0, 3))):
        found = with_one_changed(found, draw)
    return type(value), json.dumps(found).encode()


def _line_is_read(line: tuple[type, bytes]) -> None:
    with suppress(Malformed):
        found = records.parse(line[1], line[0])
        assert isinstance(found, line[0])
        again = records.line(found).rstrip(b"\n").partition(b" ")[2]
        assert records.line(records.parse(again, line[0])) == records.line(found)
    with suppress(Malformed):
        journal.parse(records.line(LINES[0]) + line[1] + b"\n")


def test_lines_of_records_that_say_something_else() -> None:
    campaign(_line_is_read, lines(), 500)


def test_the_record_of_an_upgrade_of_many_machines(tmp_path: Path) -> None:
    with rollouts.begun(tmp_path, ROLLOUT):
        pass
    file = tmp_path / "fleet" / ROLLOUT.id
    whole = file.read_bytes()

    def check(damage: tuple[tuple[float, bytes], ...]) -> None:
        file.write_bytes(_damaged(whole, damage) + whole)
        with suppress(LibswapError):
            rollouts.load(tmp_path, ROLLOUT.id)

    campaign(check, damage(), 150)


# Patches. tests/patch/test_file.py has a whole one; this one is as small as one can be.


@pytest.fixture(scope="module")
def patch(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("patch")
    library = compiler.library(CODE, "-O2", "-DEXTRA=0", "-Wl,--build-id")
    source = place / "fix.c"
    source.write_text("struct node; int node_sum(const struct node *n) { return n != 0; }\n")
    build(Build([source], library, place / "fix.lsp"))
    return (place / "fix.lsp").read_bytes()


_HEADER = struct.Struct("<8sIIQ32s")


def test_a_patch_with_a_right_checksum_and_wrong_contents(patch: bytes) -> None:
    length = _HEADER.unpack_from(patch)[2]
    metadata = json.loads(patch[_HEADER.size : _HEADER.size + length])
    blobs = patch[_HEADER.size + length :]

    def sealed(text: bytes, rest: bytes) -> bytes:
        head = (patch[:8], 1, len(text), _HEADER.size + len(text) + len(rest))
        digest = sha256(_HEADER.pack(*head, bytes(32)) + text + rest).digest()
        return _HEADER.pack(*head, digest) + text + rest

    assert decode(sealed(json.dumps(metadata).encode(), blobs), "x.lsp") == decode(patch, "x.lsp")

    @st.composite
    def forged(draw: Draw) -> bytes:
        changed = metadata
        for _ in range(draw(st.integers(1, 3))):
            changed = with_one_changed(changed, draw)
        return sealed(json.dumps(changed).encode(), draw(st.sampled_from([blobs, blobs[:-1]])))

    def check(data: bytes) -> None:
        with suppress(LibswapError):
            encode(replace(decode(data, "x.lsp"), description=""))

    campaign(check, forged(), 300)


# Configurations.

WORDS = st.sampled_from(
    ["0", "-1", "1e400", "nan", "inf", str(1 << 70), '""', '"/"', '"a\\u0000b"', '"../x"', "true",
     "[]", "{}", "[[]]", '["*"]', "1979-05-27", '"\\uD7FF"', "'''", '"9" * 9', '"512 TiB"']
)  # fmt: skip


@st.composite
def texts(draw: Draw, whole: tuple[str, ...]) -> bytes:
    """A configuration of which some values are others, lines are gone, or bytes are noise."""
    found = draw(st.sampled_from(whole)).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found) - 1))
        key, equals, _ = found[at].partition("=")
        match draw(st.integers(0, 4)):
            case 0:
                del found[at : at + 1]
                found = found or [""]
            case 1:
                found.insert(at, draw(st.text(string.printable, max_size=20)))
            case 2:
                found.append(found[at])
            case _ if equals:
                found[at] = f"{key}= {draw(WORDS)}"
            case _:
                found[at] = f"{found[at]}{draw(st.characters())}"
    text = "\n".join(found).encode("utf-8", "surrogatepass")
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


CONFIGURATION = """rescan = 5
[metrics]
port = 9000
[[drop]]
directory = "/drop"
to = "/lib"
policy = "live"
names = ["*.so"]
new = true
quiet_hours = ["Mon..Fri 08:00-18:00", "22:00-06:00"]
settle = 1.5
[drop.targets]
"libx*" = "/lib/libx.so.1"
[drop.limits]
file_bytes = "512 MiB"
files = 3
[drop.health]
command = ["true"]
[drop.trust]
keys = ["RWQ"]
"""


def test_a_configuration_of_the_watcher() -> None:
    def check(data: bytes) -> None:
        with suppress(InvalidConfiguration):
            parse(data, "x.toml")

    campaign(check, texts((CONFIGURATION,)), 500)


def test_a_manifest_of_a_drop() -> None:
    row = st.builds("{} {}{}".format, st.sampled_from(["0" * 64, "0" * 63, "x"]),
                    st.sampled_from([" ", "*", ""]), st.text(max_size=12))  # fmt: skip

    def check(rows: list[str]) -> None:
        with suppress(LibswapError):
            parse_manifest("m", "\n".join(rows).encode("utf-8", "surrogatepass"), 8)

    campaign(check, st.lists(row | st.text(max_size=20)), 200)


def test_descriptions_of_handles(tmp_path: Path) -> None:
    whole = tuple(file.read_text() for file in SHIPPED.glob("*.toml"))
    file = tmp_path / "x.toml"

    def check(data: bytes) -> None:
        file.write_bytes(data)
        with suppress(HandlesInvalid):
            read(file)

    campaign(check, texts(whole), 300)
