"""Words that point into a library follow what they point to, and each object is carried once."""

import struct

from libswap.linux.memory import Range
from libswap.live.stacks import Hit
from libswap.live.state import Exchange, Translation, follow
from support.memory import FakeMemory

OLD, NEW = Range(0x10000, 0x12000), Range(0x50000, 0x52000)
FUNCTIONS = {0x10100: 0x50200}
OBJECTS = [(Range(0x11000, 0x11010), 0x51100), (Range(0x11010, 0x11020), 0x51000)]
FORWARD = Translation([OLD], FUNCTIONS, OBJECTS)
BACK = Translation(
    [NEW], {b: a for a, b in FUNCTIONS.items()},
    [(Range(to, to + place.size), place.start) for place, to in OBJECTS],
)  # fmt: skip


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def test_a_word_follows_the_function_or_the_object_that_it_points_to() -> None:
    assert FORWARD.word(0x10100) == 0x50200
    assert FORWARD.word(0x11000) == 0x51100
    assert FORWARD.word(0x1100F) == 0x5110F
    assert FORWARD.word(0x10101) == 0x10101, "the middle of a function is nobody's entry"
    assert FORWARD.word(0x60000) == 0x60000, "what lies elsewhere stays"


def test_the_end_of_one_object_is_the_start_of_the_next() -> None:
    assert FORWARD.word(0x11010) == 0x51000
    assert FORWARD.word(0x11020) == 0x51010, "one behind the last, as loops compare with"
    assert BACK.word(0x51010) == 0x11020
    assert BACK.word(0x51110) == 0x11010


def test_only_aligned_words_are_translated() -> None:
    data = b"\x01\x02\x03" + words(0x11000, 7, 0x10100) + b"\x04"
    assert FORWARD.data(data, 0x20005) == b"\x01\x02\x03" + words(0x51100, 7, 0x50200) + b"\x04"
    assert FORWARD.data(data, 0x20000) == data
    assert FORWARD.data(b"\0" * 7, 0x20000) == b"\0" * 7


def exchange(begin: bytes | None, now: bytes) -> Exchange:
    return Exchange(OBJECTS[0], [begin], now, FORWARD, BACK)


def both(one: Exchange, old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """What the new copy and the old copy get."""
    carry, back = one.carry(), one.give_back()
    assert (carry.source, carry.destination) == (back.destination, back.source)
    assert carry.translate is not None
    assert back.translate is not None
    return carry.translate(old), back.translate(new)


def test_an_object_that_was_used_changes_places_with_that_of_the_new_copy() -> None:
    old, new = words(0x11000, 5), words(0x51100, 0)
    one = exchange(words(0x11000, 0), new)
    assert both(one, old, new) == (words(0x51100, 5), words(0x11000, 0))


def test_an_object_that_never_changed_leaves_both_copies_as_they_are() -> None:
    first, new = words(0x11000, 1), words(0x51100, 2)
    assert both(exchange(first, new), first, new) == (new, first)


def test_the_second_half_of_an_exchange_that_was_cut_off_is_made_later() -> None:
    new = words(0x51100, 0)
    one = exchange(words(1, 1), new)
    memory = FakeMemory({0x11000: words(0x11000, 5)})
    write = one.finish(memory)
    assert write is not None
    assert (write.address, write.old, write.new) == (0x11000, words(0x11000, 5), words(0x11000, 0))
    assert one.fresh == (0x51100, new)
    assert exchange(words(0x11000, 5), new).finish(memory) is None, "it was never carried"


def test_words_elsewhere_are_read_when_all_stands_still() -> None:
    (copy,) = follow([Hit(0x30000, 0x11000, OLD)], FORWARD)
    assert (copy.source, copy.destination, copy.size) == (0x30000, 0x30000, 8)
    assert copy.translate is not None
    assert copy.translate(words(0x11008)) == words(0x51108)
    assert copy.translate(words(9)) == words(9), "it has been overwritten since"
