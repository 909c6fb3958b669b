"""What a process says of itself, made by somebody who means harm: maps, link maps, the record."""

import json
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st

from libswap.elf.link_map import AT_BASE, AT_PHDR, AT_PHENT, AT_PHNUM, parse_auxv, read_loader
from libswap.errors.base import LibswapError
from libswap.errors.process import MemoryUnreachable
from libswap.live import registry
from libswap.live.draining.handles import Anchor
from libswap.live.draining.record import DrainRecord, Stage, Then
from libswap.live.patches import (
    ChangeRecord,
    EntryRecord,
    PatchRecord,
    RegionRecord,
    SwitchRecord,
)
from libswap.live.registry import CopyRecord, Event, Family, GateRecord, Pending, Record
from libswap.operations.status import ProcessStatus, Status
from libswap.process.identity import parse_start_time
from libswap.process.maps import Mapping, parse
from libswap.report.machine import plain
from libswap.report.views.status import render
from libswap.scan.services import service_of_cgroup
from support.fuzzing import NUMBERS, campaign, with_one_changed
from support.memory import FakeMemory

Draw = Callable[[st.SearchStrategy[Any]], Any]

# The text of maps. Other files of proc(5) whose text a process can choose go with it.

LINE = st.builds(
    b"%x-%x %s %08x %02x:%02x %d %s\n".__mod__,
    st.tuples(
        st.integers(0, 1 << 66), st.integers(0, 1 << 66),
        st.sampled_from([b"r-xp", b"rw-s", b"----", b"rwxp", b"r?xp"]),
        st.integers(0, 1 << 66), st.integers(0, 1 << 40), st.integers(0, 1 << 40),
        st.integers(0, 1 << 66), st.binary(max_size=20),
    ),
)  # fmt: skip


def _maps_are_read(text: bytes) -> None:
    for mapping in parse(text):
        assert b"\n" not in mapping.name or b"\\012" in text
    service_of_cgroup(text)
    service_of_cgroup(b"0::/" + text)
    parse_auxv(text)


def test_maps_that_a_process_has_filled_with_names() -> None:
    campaign(_maps_are_read, st.lists(LINE | st.binary(max_size=60)).map(b"".join), 600)


def test_a_name_that_pretends_to_end_its_line() -> None:
    """The command name in stat may hold brackets, blanks and newlines; the rest is the kernel's."""
    rest = b" S " + b" ".join(str(n).encode() for n in range(4, 53))

    def check(name: bytes) -> None:
        assert parse_start_time(b"7 (" + name + b")" + rest) == 22

    campaign(check, st.binary(max_size=15), 200)


# Link maps in random memory.


@dataclass
class Chaos:
    """Memory that changes whenever it is read: pointers mostly lead to where something is."""

    random: Any
    reads: int = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        kind = self.random.random()
        if kind < 0.002:
            raise MemoryUnreachable(7, address, size)
        if kind < 0.1:
            return bytes(self.random.randbytes(size))
        words = [
            self.random.choice((0, 1, 2, 5, 6, 21, 0x1000, 0x4000, address, address + 40, 1 << 63))
            for _ in range(size // 8 + 1)
        ]
        return b"".join((w % (1 << 64)).to_bytes(8, "little") for w in words)[:size]


def _link_maps_are_read(memory: object, auxv: dict[int, int]) -> None:
    with suppress(LibswapError):
        read_loader(memory, auxv)  # type: ignore[arg-type]


AUXV = st.fixed_dictionaries(
    {AT_PHDR: NUMBERS, AT_PHENT: st.just(56), AT_PHNUM: st.integers(0, 40), AT_BASE: NUMBERS}
)


def test_link_maps_in_memory_that_changes_as_it_is_read() -> None:
    def check(given: tuple[Any, dict[int, int]]) -> None:
        _link_maps_are_read(Chaos(given[0]), given[1])

    campaign(check, st.tuples(st.randoms(use_true_random=False), AUXV), 40)


@st.composite
def programs(draw: Draw) -> FakeMemory:
    """A program's tables as they should be, but for some words."""
    count = draw(st.integers(1, 4))
    maps = b"".join(
        struct.pack("<5Q3Q", n, 0x6000, 0x7000, 0x4040 + 64 * n if n + 1 < count else 0,
                    0x4000 + 64 * (n - 1) if n else 0, 0, 0, 0)
        for n in range(count)
    )  # fmt: skip
    pieces = {
        0x1000: struct.pack("<IIQQQQQQ", 2, 0, 0, 0x2000, 0x2000, 0, 0, 0),
        0x2000: struct.pack("<QQQQ", 21, 0x3000, 0, 0),
        0x3000: struct.pack("<i4xQQi4xQQ", 2, 0x4000, 0, 0, 0, 0),
        0x4000: maps,
        0x6000: b"libx.so\0".ljust(256, b"\0"),
    }
    memory = FakeMemory(pieces)
    for _ in range(draw(st.integers(1, 3))):
        piece = memory.pieces[draw(st.sampled_from(sorted(pieces)))]
        at = draw(st.integers(0, len(piece) // 8 - 1)) * 8
        near = st.sampled_from([0x1000, 0x3000, 0x4000, 0x4040, 0x4FF8, 0x6000])
        piece[at : at + 8] = (draw(NUMBERS | near) % (1 << 64)).to_bytes(8, "little")
    return memory


def test_link_maps_of_which_some_words_are_others() -> None:
    auxv = {AT_PHDR: 0x1000, AT_PHENT: 56, AT_PHNUM: 1, AT_BASE: 0x9000}
    campaign(partial(_link_maps_are_read, auxv=auxv), programs(), 400)


class Endless:
    """A list of modules, each with the longest name, that goes on for ever."""

    reads = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        if size == 40:
            before = address - 64 if address > 0x4000 else 0
            return struct.pack("<5Q", 1, 0x6000, 0x7000, address + 64, before)
        fixed = {0x1000: struct.pack("<IIQQQQQQ", 2, 0, 0, 0x2000, 0x2000, 0, 0, 0),
                 0x2000: struct.pack("<QQ", 21, 0x3000), 0x2010: bytes(16),
                 0x3000: struct.pack("<i4xQQi4x", 1, 0x4000, 0, 0)}  # fmt: skip
        return fixed.get(address, b"a" * size)


def test_a_list_without_end_is_given_up_and_not_looked_at_again_and_again() -> None:
    memory = Endless()
    _link_maps_are_read(memory, {AT_PHDR: 0x1000, AT_PHENT: 56, AT_PHNUM: 1, AT_BASE: 0x9000})
    assert memory.reads < 1 << 20


# The record.

GATE = GateRecord(0x1000, "90" * 8, 0x7F0000001000, 0x7F0000002000)
COPY = CopyRecord(0x5000, 0x7F0000000000, "/lib/libx.so", "ab" * 20, 0x1000, 4096, (GATE,))
ENTRY = EntryRecord("f", 0x1000, 16, "90", "e9", 0x2000, 16, chained=False)
PATCH = PatchRecord("1", "ab", "why", 1.5, "/bin/x", 0, 0x3000, 4096, 0, (ENTRY,),
                    (RegionRecord(0x3000, 8, "ab"),), 0, "applied")  # fmt: skip
FULL = Record(
    (Family((COPY,), 0),),
    (Event("1", 1.5, "swap", "/lib/libx.so", "ab", "cd", 1, 2, "begun"),),
    (Pending(0, 0, 0, ((1, "00"),)),),
    (PATCH,),
    SwitchRecord(1, 2, 3, (ChangeRecord(1, "90", "", "e9"),), (PATCH,)),
    (DrainRecord("1", 0, COPY.base, COPY.base, 3, "zlib", pointers=True, linked=((1, 2),),
                 hidden=("f",), functions=((1, 2),), stage=Stage.DRAINING, then=Then.WARN,
                 anchors=(Anchor(("f",), "g", "h"),)),),
)  # fmt: skip
WHOLE = json.loads(zlib.decompress(registry.encode(FULL)))
AT, SIZE = 0x7000, 1 << 16


@st.composite
def records(draw: Draw) -> bytes:
    changed = WHOLE
    for _ in range(draw(st.integers(1, 3))):
        changed = with_one_changed(changed, draw)
    return zlib.compress(json.dumps(changed).encode())


def _record_is_read(payload: bytes) -> None:
    """What is taken for a record can be shown and written again."""
    try:
        record = registry.decode(payload)
    except ValueError:
        return
    assert registry.decode(registry.encode(record)) == record
    told = Status((ProcessStatus(7, "x", record.families, record.events, unfinished=False),))
    list(render(told))
    json.dumps(plain(told))


def test_a_record_with_a_right_checksum_and_wrong_contents() -> None:
    assert registry.decode(registry.encode(FULL)) == FULL
    campaign(_record_is_read, records(), 600)


def test_a_record_of_any_bytes() -> None:
    memory = FakeMemory({AT: bytes(SIZE)})
    place, head = registry.blank(AT, SIZE)
    memory.write(head.address, head.new)
    _, write = place.writes(FULL)
    memory.write(write.address, write.new)
    whole = bytes(memory.pieces[AT])
    mapping = Mapping(AT, AT + SIZE, 0, 0, 1, 5, registry.MAPPED, executable=False)

    def check(changes: list[tuple[int, bytes]]) -> None:
        damaged = FakeMemory({AT: whole})
        for at, data in changes:
            damaged.write(AT + at, data)
        with suppress(LibswapError):
            registry.find(damaged, [mapping], 7)

    place_of_change = st.integers(0, 40) | st.integers(0, SIZE - 64)
    campaign(check, st.lists(st.tuples(place_of_change, st.binary(max_size=24)), min_size=1), 300)


def test_a_record_that_unpacks_to_more_than_any_is_refused() -> None:
    for text in (b"[" * (1 << 25), b"[" + b"[]," * (1 << 24) + b"[]]", bytes(1 << 28)):
        campaign(_record_is_read, st.just(zlib.compress(text, 1)), 1)
