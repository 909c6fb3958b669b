"""Which processes a patch concerns."""

import os
from contextlib import suppress
from pathlib import Path

from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.errors.base import InvalidElf, LibswapError
from libswap.linux.procfs import PROC
from libswap.patch.patch import Kind, Pin
from libswap.patch.target import content_hash
from libswap.process.identity import Identity
from libswap.process.maps import Mapping, maps_of


def processes_of(pin: Pin, program: Path | None = None) -> list[Identity]:
    """The processes that run the target of a patch, parents before children.

    Args:
        pin: the target.
        program: if given, the processes that run this file instead, whatever they have loaded.
    """
    known: dict[tuple[int, int, int], bool] = {}
    found = []
    for pid in PROC.pids():
        with suppress(OSError, LibswapError):
            if pid == os.getpid():
                continue
            if program is not None:
                wanted = Path(PROC.path(pid, "exe")).samefile(program)
            else:
                wanted = _maps(pid, pin, known)
            if wanted:
                found.append(Identity.of(pid))
    return sorted(found, key=lambda i: (i.start_time, i.pid))


def _maps(pid: int, pin: Pin, known: dict[tuple[int, int, int], bool]) -> bool:
    """Whether a process maps the file; only code counts, and each file is read once."""
    if pin.kind is not Kind.LIBRARY:
        return _is(PROC.path(pid, "exe"), pin)
    for mapping in maps_of(pid):
        key = (mapping.major, mapping.minor, mapping.inode)
        if not mapping.executable or not mapping.inode:
            continue
        if key not in known:
            known[key] = _is(_link(pid, mapping), pin)
        if known[key]:
            return True
    return False


def _link(pid: int, mapping: Mapping) -> str:
    return PROC.path(pid, f"map_files/{mapping.start:x}-{mapping.end:x}")


def _is(path: str, pin: Pin) -> bool:
    try:
        image = Image.open(path)
        return (
            build_id(image) == pin.build_id if pin.build_id else content_hash(image) == pin.sha256
        )
    except (InvalidElf, OSError):
        return False
