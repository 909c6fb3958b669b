"""Which copy's destructors run when the process ends: those of the copy in use."""

import struct
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.linux.memory import Memory
from libswap.live.leading import word
from libswap.live.module import Module
from libswap.live.transaction import Write

_MOST_DYNAMIC: Final = 4096


def end_writes(memory: Memory, side: Module, *, silent: bool) -> tuple[Write, ...]:
    """Whether a copy's destructors run when the process ends: those of the copy in use do.

    The first of DT_FINI_ARRAY is crtbegin's __do_global_dtors_aux, which is kept: it runs what
    __cxa_atexit registered for this copy before the copy can be unmapped.
    """
    keeps_first = any(s.name == "__cxa_finalize" and not s.defined for s in side.facts.symbols)
    size = side.facts.dynamic.value(Tag.FINI_ARRAYSZ) or 0
    if not size:
        return ()
    wanted = min(size, 8 if keeps_first else 0) if silent else size
    for index in range(_MOST_DYNAMIC):
        place = side.link.dynamic + 16 * index
        tag, value = struct.unpack("<QQ", memory.read(place, 16))
        if tag == Tag.NULL:
            break
        if tag == Tag.FINI_ARRAYSZ:
            return () if value == wanted else (word(place + 8, value, wanted),)
    return ()
