"""What the processor can do, as far as the dynamic linker asks."""

from collections.abc import Collection
from typing import Final

from libswap.linux.procfs import PROC, Procfs

_LEVELS: Final = (
    {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
    {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
    {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
)
"""What x86-64-v2, -v3 and -v4 add (psABI x86-64, table 3.1), in the words of /proc/cpuinfo."""


def x86_level(procfs: Procfs = PROC) -> int | None:
    """The processor's x86-64 level, 1 to 4; None where it is another machine's."""
    for line in procfs.read_file("cpuinfo").decode("ascii", "replace").split("\n"):
        if line.startswith("flags"):
            return level_of(line.partition(":")[2].split())
    return None


def level_of(flags: Collection[str]) -> int:
    """The x86-64 level of a processor with these flags."""
    level = 1
    for wanted in _LEVELS:
        if not wanted <= set(flags):
            break
        level += 1
    return level
