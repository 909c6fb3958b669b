"""The record in a process: one whole half always counts, and nothing in it is believed blindly."""

import json
import zlib
from dataclasses import asdict, replace

import pytest

from libswap.errors.live import NotSwappable, RecordDamaged
from libswap.live import facts, registry
from libswap.live.draining.handles import Anchor
from libswap.live.draining.record import DrainRecord, Stage
from libswap.live.registry import CopyRecord, Event, Family, GateRecord, Pending, Place, Record
from libswap.process.maps import Mapping
from support.memory import FakeMemory

AT, SIZE = 0x7000, 1 << 16
GATE = GateRecord(0x1000, "90" * 8, 0x7F0000001000, 0x7F0000002000)
COPY = CopyRecord(0x5000, 0x7F0000000000, "/lib/libx.so", "ab" * 20, 0x7F0000001000, 4096, (GATE,))
EVENT = Event("1", 1.5, "swap", "/lib/libx.so", "ab", "cd", 1, 2, "begun")
PENDING = Pending(0, 0, 1, ((1, "00"),))
DRAIN = DrainRecord(
    "1", 0, COPY.base, 0x7F1000000000, 3, "x", pointers=False, linked=(), hidden=(),
    functions=((1, 2),), stage=Stage.DRAINING, anchors=(Anchor(("a",), "b", "c"),),
)  # fmt: skip
FULL = Record(
    (Family((COPY, replace(COPY, base=0x7F1000000000)), 1),), (EVENT,), (PENDING,), drains=(DRAIN,)
)  # fmt: skip


def mapping(name: bytes = registry.MAPPED, *, executable: bool = False) -> Mapping:
    return Mapping(AT, AT + SIZE, 0, 0, 1, 5, name, executable=executable)


def process(*records: Record) -> tuple[FakeMemory, Place]:
    """Memory in which these records were written, one after the other."""
    memory = FakeMemory({AT: bytes(SIZE)})
    place, head = registry.blank(AT, SIZE)
    memory.write(head.address, head.new)
    for record in records:
        place, write = place.writes(record)
        memory.write(write.address, write.new)
    return memory, place


def found(memory: FakeMemory) -> Place | None:
    return registry.find(memory, [mapping()], 7)


def damaged(memory: FakeMemory) -> None:
    with pytest.raises(RecordDamaged):
        found(memory)


def test_what_is_written_is_found() -> None:
    memory, place = process(Record(), FULL)
    assert found(memory) == place
    assert place.record == FULL
    assert registry.decode(registry.encode(FULL)) == FULL


def test_the_text_is_that_of_dataclasses() -> None:
    assert json.loads(facts.written(FULL)) == json.loads(json.dumps(asdict(FULL)))


def test_a_process_that_was_never_changed_has_none() -> None:
    assert registry.find(FakeMemory({AT: bytes(SIZE)}), [mapping(b"/lib/libx.so")], 7) is None
    assert found(FakeMemory({AT: bytes(SIZE)})) is None, "killed before it became a record"
    memory, _ = process()
    assert found(memory) == Place(AT, SIZE, 0, Record()), "killed before the first half"


@pytest.mark.parametrize("written", [0, 1, 15, 16, 17, 40])
def test_killed_while_writing_the_half_before_counts(written: int) -> None:
    memory, place = process(Record(), FULL)
    _, write = place.writes(Record(events=(replace(EVENT, state="done"),)))
    memory.write(write.address, write.new[:written])
    assert found(memory) == (place if written < len(write.new) else None)


def test_a_process_full_of_records_is_not_read_from_end_to_end() -> None:
    memory, _ = process(Record(), FULL)
    with pytest.raises(RecordDamaged, match="17"):
        registry.find(memory, [mapping()] * 17, 7)


def test_of_two_mappings_the_later_record_counts() -> None:
    memory, place = process(Record(), FULL)
    other = AT + 4 * SIZE
    older, head = registry.blank(other, SIZE)
    memory.pieces[other] = bytearray(SIZE)
    memory.write(head.address, head.new)
    second = mapping()._replace(start=other, end=other + SIZE)
    assert registry.find(memory, [mapping(), second], 7) == place
    assert older.number == 0


def test_a_record_that_does_not_fit_says_so_before_anything_is_written() -> None:
    place, _ = registry.blank(AT, 4096)
    many = tuple(replace(EVENT, id=str(n * 7919 % 10007), library=f"/lib/{n}") for n in range(4000))
    with pytest.raises(NotSwappable, match="record-too-large"):
        place.writes(Record(events=many))
    size = registry.size_for(Record(events=many))
    registry.blank(AT, size)[0].writes(Record(events=many))


TEXT = facts.written(FULL)


@pytest.mark.parametrize(
    ("bound", "enough"),
    [("_MOST_VALUES", sum(map(TEXT.count, ",[{"))), ("_MOST_UNPACKED", len(TEXT))],
)
def test_no_record_is_written_that_could_not_be_read_again(
    monkeypatch: pytest.MonkeyPatch, bound: str, enough: int
) -> None:
    monkeypatch.setattr(registry, bound, enough)
    registry.decode.cache_clear()
    assert registry.decode(registry.encode(FULL)) == FULL
    monkeypatch.setattr(registry, bound, enough - 1)
    with pytest.raises(NotSwappable, match="record-too-large"):
        registry.encode(FULL)


def test_data_of_zeros_need_no_room_however_large_they_are() -> None:
    size = 1 << 27
    large = replace(PENDING, fresh=((1, "0102"), (2, "")), places=(3, 4), sizes=(2, size))
    found = registry.decode(registry.encode(replace(FULL, pending=(large,)))).pending[0]
    assert [(at, len(content)) for at, content in found.contents()] == [(1, 2), (2, size)]
    assert list(PENDING.contents()) == [(1, b"\0")]
    too_large = replace(large, sizes=(2, 2 * size))
    with pytest.raises(NotSwappable, match="record-too-large"):
        registry.encode(replace(FULL, pending=(too_large,)))
    for sizes in ((2,), (2, 2 * size)):
        text = facts.written(replace(FULL, pending=(replace(large, sizes=sizes),))).encode()
        with pytest.raises(ValueError, match=r"size|exchanged"):
            registry.decode(zlib.compress(text))


def test_old_events_are_forgotten() -> None:
    record = Record()
    for number in range(200):
        record = record.with_event(replace(EVENT, id=str(number)))
    assert len(record.events) == 65
    assert record.events[-1].id == "199"
    assert record.with_event(replace(EVENT, id="199", state="done")).events[-1].state == "done"


@pytest.mark.parametrize(
    "head", [b"LIBSWAP\0", b"libswap\0\x63\0\0\0", b"libswap\0\x01\0\0\0\xff\xff\xff\xff"],
    ids=["magic", "format", "size"],
)  # fmt: skip
def test_a_head_that_is_none_is_damage(head: bytes) -> None:
    memory, _ = process(FULL)
    memory.write(AT, head)
    damaged(memory)


def test_two_wrong_checksums_are_damage() -> None:
    memory, _ = process(Record(), FULL)
    for half in range(2):
        memory.write(AT + 16 + half * registry.half_size(SIZE) + 20, b"\xa5\xa5")
    damaged(memory)


DATA = json.loads(zlib.decompress(registry.encode(FULL)))


def but(**other: object) -> bytes:
    """A record in which some parts are others."""
    return json.dumps(DATA | other).encode()


HOSTILE = {
    "no JSON": b"nonsense",
    "another kind of JSON": b"[1, 2]",
    "nested without end": b"[" * 200_000,
    "a family without its copy in use": but(families=[{"copies": [], "current": 3}]),
    "a pending commit of no family": but(pending=[DATA["pending"][0] | {"family": 9}]),
    "a pending commit to no copy": but(pending=[DATA["pending"][0] | {"target": -1}]),
    "a drain of no family": but(drains=[DATA["drains"][0] | {"family": -1}]),
    "a drain of no copy": but(drains=[DATA["drains"][0] | {"target": 5}]),
    "a number without end": json.dumps(DATA).replace('"current": 1', '"current": 1e999').encode(),
    "a word for a time": but(events=[DATA["events"][0] | {"when": "now"}]),
    "a time of no calendar": but(events=[DATA["events"][0] | {"when": 1e300}]),
    "an address that fits no word": but(pending=[DATA["pending"][0] | {"fresh": [[1 << 64, ""]]}]),
    "an address below all": but(pending=[DATA["pending"][0] | {"fresh": [[-1, ""]]}]),
    "bytes that are none": but(pending=[DATA["pending"][0] | {"fresh": [[1, "0x"]]}]),
    "what no record has": but(more=1),
    "more values than any": b"[" + b"[]," * (1 << 21) + b"[]]",
    "a name in no locale": but(events=[DATA["events"][0] | {"library": "/lib/\ud800"}]),
    "a word for a number": but(pending=[DATA["pending"][0] | {"source": "x"}]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_stranger_wrote_with_a_right_checksum_is_still_checked(kind: str) -> None:
    with pytest.raises(ValueError):
        registry.decode(zlib.compress(HOSTILE[kind]))
