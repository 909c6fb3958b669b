import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.errors.live import CommitBlocked, CommitConflict
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.expected import Expected
from libswap.live.quiescence import Forbidden
from libswap.live.tracee import Tracee
from libswap.live.transaction import commit
from libswap.live.writing import Copy, Prepared, Write
from support.compiler import Compiler
from support.target import Target, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]
WORDS = 2048
SIZE = 8 << 20


def words(value: int) -> bytes:
    return struct.pack("<q", value) * WORDS


@pytest.fixture
def table(compiler: Compiler) -> Iterator[Target]:
    with running(compiler.program("live/table.c", "-O2", "-rdynamic"), "4") as target:
        yield target


def writes(target: Target, old: int, new: int) -> tuple[Write, ...]:
    start = target.function("table", b"/table")
    old_word, new_word = struct.pack("<q", old), struct.pack("<q", new)
    return tuple(Write(start + 8 * i, old_word, new_word) for i in range(WORDS))


def looking(target: Target) -> tuple[Forbidden, ...]:
    start = target.function("look", b"/table")
    return (Forbidden(Range(start, start + target.size("look", b"/table")), "look"),)


def test_no_thread_ever_sees_half_of_a_commit(table: Target) -> None:
    with ProcessMemory(table.pid) as memory:
        for round_ in range(30):
            prepared = Prepared((writes(table, round_, round_ + 1),), looking(table))
            done = commit(table.identity, memory, prepared, wait=10)
            assert done.threads == 5
    table.say("report")
    looked, differed, value = map(int, table.line().split())
    assert looked > 100
    assert differed == 0
    assert value == 30


def test_a_thread_that_never_leaves_the_code_is_named_and_nothing_is_written(
    compiler: Compiler,
) -> None:
    with (
        running(compiler.program("live/table.c", "-O2", "-rdynamic"), "2", "0") as target,
        ProcessMemory(target.pid) as memory,
    ):
        main = target.function("main", b"/table")
        always = Forbidden(Range(main, main + target.size("main", b"/table")), "main")
        prepared = Prepared((writes(target, 0, 1),), (*looking(target), always))
        with pytest.raises(CommitBlocked) as caught:
            commit(target.identity, memory, prepared, wait=0.2)
        assert any("will return into main" in why for why in caught.value.blockers)
        assert memory.read(target.function("table", b"/table"), 8 * WORDS) == words(0)


def test_of_a_crowd_those_inside_are_let_out_alone(compiler: Compiler) -> None:
    with (
        running(compiler.program("live/crowd.c", "-O1", "-rdynamic"), "16") as target,
        ProcessMemory(target.pid) as memory,
    ):
        start = target.function("inside", b"/crowd")
        inside = Forbidden(Range(start, start + target.size("inside", b"/crowd")), "inside")
        for _ in range(3):
            assert commit(target.identity, memory, Prepared((), (inside,)), wait=20).threads == 17


def test_unexpected_bytes_mean_that_nothing_is_written(table: Target) -> None:
    start = table.function("table", b"/table")
    good = writes(table, 0, 1)
    bad = Write(start + 8 * 100, b"\1" * 8, b"\2" * 8)
    record = Write(start, bytes(8), bytes(8))
    with ProcessMemory(table.pid) as memory:
        with pytest.raises(CommitConflict):
            commit(
                table.identity,
                memory,
                Prepared(((*good[:50], bad),), looking(table), abandoned=(record,)),
                wait=5,
            )
        assert memory.read(start, 8 * WORDS) == words(0)


def test_an_interruption_behind_the_last_write_leaves_the_commit_standing(
    table: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = Tracee.detach

    def interrupted(tracee: Tracee) -> None:
        let_go(tracee)
        monkeypatch.undo()
        raise KeyboardInterrupt

    start = table.function("table", b"/table")
    first, *others = writes(table, 0, 1)
    undone = Write(first.address, first.new, struct.pack("<q", 99))
    monkeypatch.setattr(Tracee, "detach", interrupted)
    with ProcessMemory(table.pid) as memory:
        with pytest.raises(KeyboardInterrupt):
            commit(
                table.identity,
                memory,
                Prepared(((first, *others),), abandoned=(undone,)),
                wait=5,
            )
        assert memory.read(start, 8 * WORDS) == words(1)


def test_state_is_copied_as_it_is_at_the_stop(table: Target) -> None:
    start = table.function("table", b"/table")
    half = 8 * WORDS // 2
    with ProcessMemory(table.pid) as memory:
        memory.write(start, words(3)[:half])
        commit(
            table.identity,
            memory,
            Prepared(((Copy(start, start + half, half),),)),
            wait=5,
        )
        assert memory.read(start, 8 * WORDS) == words(3)
        doubled = Copy(start, start + half, half, lambda data: bytes(len(data)))
        commit(table.identity, memory, Prepared(((doubled,),)), wait=5)
        assert memory.read(start + half, half) == bytes(half)


def test_read_only_code_can_be_written(table: Target) -> None:
    with ProcessMemory(table.pid) as memory:
        entry = table.function("look_through", b"/table")
        old = memory.read(entry, 4)
        commit(
            table.identity,
            memory,
            Prepared(((Write(entry, old, old),),)),
            wait=5,
        )
        assert memory.read(entry, 4) == old


@pytest.fixture
def buffer(compiler: Compiler) -> Iterator[Target]:
    text = f"#include <stdio.h>\n#include <unistd.h>\nchar buffer[{SIZE}];\nint main(void) {{"
    text += ' buffer[0] = 1; puts("ready"); fflush(stdout); for (;;) pause(); }\n'
    with running(compiler.program(text, "-rdynamic", name="buffer")) as target:
        yield target


def test_what_must_not_have_changed_is_compared_and_not_written(buffer: Target) -> None:
    with ProcessMemory(buffer.pid) as memory:
        start = buffer.function("buffer", b"/buffer")
        before = resident(buffer)
        expected = b"\1" + bytes(SIZE - 1)
        commit(buffer.identity, memory, Prepared((), still=((start, expected),)), wait=5)
        assert resident(buffer) < before + SIZE // 2
        with pytest.raises(CommitConflict):
            commit(buffer.identity, memory, Prepared((), still=((start, bytes(SIZE)),)), wait=5)


def test_pages_that_nobody_has_written_to_are_compared_when_somebody_has(buffer: Target) -> None:
    with ProcessMemory(buffer.pid) as memory:
        start = buffer.function("buffer", b"/buffer")
        content = memory.read(start, SIZE)
        other = Expected.of(memory, start, b"\2" * SIZE)
        one = Expected.of(memory, start, content)
        assert not other.zeros
        assert not other.holds(memory)
        assert bool(one.zeros) == bool(memory.untouched(Range(start, start + SIZE)))
        assert sum(part.size for part in (*one.zeros, *one.others)) == SIZE
        assert one.holds(memory)
        for at in (0, 5, SIZE // 2, SIZE - 1):
            before = memory.read(start + at, 1)
            memory.write(start + at, b"\3")
            assert not one.holds(memory)
            memory.write(start + at, before)
            assert one.holds(memory)


def test_what_changed_is_found_in_the_midst_of_much_that_did_not(table: Target) -> None:
    size = 8 * WORDS
    with ProcessMemory(table.pid) as memory:
        start = table.function("table", b"/table")
        other = bytearray(size)
        other[-3] = 7
        assert memory.holds(start, bytes(size))
        assert not memory.holds(start, bytes(other))
        with pytest.raises(CommitConflict) as error:
            commit(table.identity, memory, Prepared((), still=((start, bytes(other)),)), wait=5)
        assert (error.value.address, error.value.expected) == (start + size - 3, b"\7\0\0")
        with pytest.raises(MemoryUnreachable):
            memory.holds(1 << 40, bytes(1 << 20))


def resident(target: Target) -> int:
    """Bytes of its own memory that it has touched."""
    (line,) = re.findall(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{target.pid}/status").read_text())
    return int(line) * 1024
