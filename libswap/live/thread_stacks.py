"""Which memory is the stack of a thread, of one that has ended too."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.live.stacks import is_stack
from libswap.process.maps import Mapping

_DESCRIPTOR: Final = 0x2000
"""Bytes that hold a thread's descriptor; glibc 2.36 takes 0x900 for it."""
_SELF: Final = 2
"""Words from the one pointer to the other."""


def thread_stacks(memory: Memory, mappings: Sequence[Mapping]) -> Iterator[Range]:
    """All of them; what lies there is no object that lasts, and no coroutine's frame.

    Other memory may have a guard below it as well, such as a coroutine's stack or a piece of a
    hardened heap. glibc puts a thread's descriptor on top of its stack, whose head points to itself
    twice (nptl/descr.h, tcbhead_t).
    """
    for index, one in enumerate(mappings):
        if is_stack(mappings, index):
            place = Range(one.start, one.end)
            if one.name.startswith(b"[stack") or _ends_in_descriptor(memory, place):
                yield place


def _ends_in_descriptor(memory: Memory, stack: Range) -> bool:
    start = max(stack.start, stack.end - _DESCRIPTOR)
    try:
        words = array("Q", memory.read(start, stack.end - start))
    except MemoryUnreachable:
        return False
    heads = range(0, len(words) - _SELF, _SELF)
    return any(words[i] == words[i + _SELF] == start + 8 * i for i in heads)
