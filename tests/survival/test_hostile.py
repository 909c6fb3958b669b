"""Files that are made to be slow, to be huge or to be read past their end."""

import random
import struct
import time

import pytest

from libswap.elf.frames import frames
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf
from libswap.live.library import Library
from libswap.live.writable import nameless_ranges
from libswap.survival.code import Code
from libswap.survival.counterparts import counterparts
from libswap.survival.examination import examine
from libswap.survival.run import profile
from libswap.survival.sources import Source
from libswap.survival.steps import Steps
from support.compiler import Compiler

pytestmark = pytest.mark.compiler


def image(data: bytes) -> Image:
    return Image(data, "hostile")


def library(compiler: Compiler, *flags: str) -> bytes:
    return compiler.library("survival/store.c", "-O2", *flags).read_bytes()


def test_a_damaged_file_is_refused_or_examined_and_nothing_else(compiler: Compiler) -> None:
    old, new = library(compiler), library(compiler, "-DADDED")
    chance = random.Random(5)
    begun = time.process_time()
    for _ in range(150):
        data = bytearray(new)
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            examine(Source(image(old)), Source(image(bytes(data))), seconds=5)
        except InvalidElf:
            continue
        assert time.process_time() - begun < 100


def test_a_damaged_file_never_makes_data_be_carried_out_of_the_data(compiler: Compiler) -> None:
    old = library(compiler, "-s")
    places = nameless_ranges(Library(image(old)))
    chance = random.Random(7)
    for _ in range(60):
        data = bytearray(old)
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            other = Library(image(bytes(data)))
            there = nameless_ranges(other)
            found = counterparts(
                Source(image(old)), Source(other.image), places, there, seconds=5
            )  # fmt: skip
        except InvalidElf:
            continue
        for s in found.stretches:
            assert any(s.old in r and s.old + s.size <= r.end for r in places)
            assert any(s.new in r and s.new + s.size <= r.end for r in there)


def test_unwind_tables_that_lie_give_fewer_functions(compiler: Compiler) -> None:
    whole = library(compiler)
    place = next(s for s in image(whole).sections if s.name == ".eh_frame")
    count = len(frames(image(whole)))
    assert count > 5
    for word in (0, 1, 0xFFFFFFF0, 0xFFFFFFFF):
        data = bytearray(whole)
        struct.pack_into("<I", data, place.offset, word)
        assert len(frames(image(bytes(data)))) <= count


def test_a_function_of_nothing_but_jumps_is_bounded(compiler: Compiler) -> None:
    body = "".join(
        f'asm volatile("jz 1f\\n mov %rax, {8 * i}(%rsp)\\n 1:\\n");' for i in range(3000)
    )
    text = f"void many(long *p) {{ {body} }}\n"
    code = Code(image(compiler.library(text, "-O2").read_bytes()))
    function = code.own["many"]
    begun = time.process_time()
    found = profile(code, function, Steps().of(code.text(function), function.start))
    assert len(found.accesses) < 10
    assert time.process_time() - begun < 20


def test_code_that_is_no_code_ends_the_function() -> None:
    found = Steps().of(b"\x55\x06\x06\x06", 0x1000)
    assert len(found) == 1
