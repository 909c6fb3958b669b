"""What a process holds, so that a leak shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Footprint:
    """Counts of one moment.

    Attributes:
        mappings: lines of /proc/PID/maps.
        descriptors: open files.
        threads: tasks.
        resident: KiB in memory (VmRSS).
        reserved: KiB of address space (VmSize).
    """

    mappings: int
    descriptors: int
    threads: int
    resident: int
    reserved: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Of a running process."""
        place = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        return cls(
            mappings=(place / "maps").read_bytes().count(b"\n"),
            descriptors=sum(1 for _ in (place / "fd").iterdir()),
            threads=sum(1 for _ in (place / "task").iterdir()),
            resident=int(status["VmRSS"].split()[0]),
            reserved=int(status["VmSize"].split()[0]),
        )
