from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.got import copied_objects, slots
from support.compiler import Compiler
from support.driven import running

pytestmark = pytest.mark.compiler


def _slots(compiler: Compiler, *flags: str, preload: Path | None = None) -> dict[str, int]:
    library = compiler.library("live/version.c", "-DVERSION=1", name="libversion.so")
    program = compiler.program(
        "live/driver.c", *flags, str(library), f"-Wl,-rpath,{library.parent}"
    )
    environment = {"LD_PRELOAD": str(preload)} if preload else {}
    with running([program], **environment) as target, ProcessMemory(target.pid) as memory:
        old, main = target.module("libversion.so"), target.module("driver")
        symbols = {old.base + s.value: n.name for n, s in old.facts.exported.items()}
        found = slots(memory, main, [old.extent])
        assert all(symbols[s.value] == s.name for s in found)
        assert "exported_count" in copied_objects(main) or "-fPIC" in flags
        counted: dict[str, int] = {}
        for slot in found:
            counted[slot.name] = counted.get(slot.name, 0) + 1
        return counted


def test_a_lazy_slot_counts_only_once_it_is_bound(compiler: Compiler) -> None:
    assert _slots(compiler, "-Wl,-z,lazy") == {"version": 2, "give_callback": 1}


def test_bound_slots_of_full_relro_are_found(compiler: Compiler) -> None:
    found = _slots(compiler, "-Wl,-z,now,-z,relro")
    assert set(found) == {"version", "count", "through_pointer", "method_call", "give_callback"}


def test_slots_of_calls_without_a_plt_are_found(compiler: Compiler) -> None:
    assert "count" in _slots(compiler, "-fno-plt")


@pytest.mark.parametrize("flags", [("-Wl,-z,pack-relative-relocs",), ("-no-pie",)])
def test_slots_are_found_however_the_program_is_linked(
    compiler: Compiler, flags: tuple[str, ...]
) -> None:
    assert "count" in _slots(compiler, "-Wl,-z,now", *flags)


def test_an_interposed_slot_stays(compiler: Compiler) -> None:
    preload = compiler.library("int count(void) { return 7; }\n")
    found = _slots(compiler, "-Wl,-z,now", preload=preload)
    assert "count" not in found
    assert "version" in found
