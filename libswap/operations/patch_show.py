"""Read a patch file."""

from dataclasses import dataclass
from pathlib import Path

from libswap.errors.patch import InvalidPatch
from libswap.linux.files import refusal
from libswap.patch.file import MAX_FILE, decode, identity
from libswap.patch.patch import Patch


@dataclass(frozen=True, slots=True)
class Shown:
    """What a patch file holds.

    Attributes:
        identity: its checksum, by which a running process knows it.
        size: of the file in bytes.
    """

    path: Path
    identity: str
    size: int
    patch: Patch


def show(path: Path) -> Shown:
    """Read and check all of it.

    Raises:
        SystemRefused: it cannot be read.
        InvalidPatch: it is damaged, or is none.
    """
    with refusal("read", str(path)), path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InvalidPatch(str(path), f"it has more than {MAX_FILE >> 20} MiB")
    return Shown(path, identity(data), len(data), decode(data, str(path)))
