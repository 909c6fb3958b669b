"""Whether a file is a shared library that may be installed, judged through one open descriptor."""

from dataclasses import dataclass
from typing import Final

from libswap.elf.contents import FileBytes
from libswap.elf.dynamic import DF_1_PIE, Dynamic, Tag, read_dynamic
from libswap.elf.format import FileType, SectionType, SegmentType
from libswap.elf.image import Image
from libswap.elf.notes import build_id

_NO_LIBRARY: Final[dict[int, str]] = {
    FileType.REL: "it is a relocatable object (.o); link it with cc -shared",
    FileType.EXEC: "it is an executable program",
    FileType.CORE: "it is a core dump",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shared library that could be installed: what it says about itself.

    Attributes:
        soname: DT_SONAME.
        build_id: hexadecimal.
        machine: what must agree between the old and the new, such as "64-bit LSB x86-64".
    """

    soname: str | None
    build_id: str | None
    machine: str


def read_candidate(descriptor: int, path: str) -> Candidate:
    """What the library in an open file says about itself.

    Raises:
        InvalidElf: it is no shared library, or not all of one.
    """
    image = Image(FileBytes(descriptor), path)
    header = image.header
    if header.type != FileType.DYN:
        raise image.bad(_NO_LIBRARY.get(header.type, f"its type (e_type) is {header.type}"))
    require_whole(image)
    dynamic = read_dynamic(image)
    if dynamic is None:
        raise image.bad("it has no dynamic section")
    if _is_program(image, dynamic):
        raise image.bad("it is an executable program (position-independent)")
    machine = f"{header.bits}-bit {'LSB' if header.little_endian else 'MSB'} {header.machine_name}"
    return Candidate(dynamic.soname, build_id(image), machine)


def require_whole(image: Image) -> None:
    """Make sure that every byte that a header promises is there: a truncated copy fails here.

    Raises:
        InvalidElf: it is not.
    """
    if not image.loads:
        raise image.bad("it has nothing to load")
    ends = [s.offset + s.filesz for s in image.segments]
    ends += [s.offset + s.size for s in image.sections if s.type != SectionType.NOBITS]
    if max(ends) > len(image.data):
        raise image.bad(f"it is cut off: {len(image.data)} bytes of at least {max(ends)}")


def _is_program(image: Image, dynamic: Dynamic) -> bool:
    if (dynamic.value(Tag.FLAGS_1) or 0) & DF_1_PIE:
        return True
    # Linkers before binutils 2.26 set no DF_1_PIE. libc.so.6 has an interpreter too, and a name.
    return image.segment(SegmentType.INTERP) is not None and dynamic.soname is None
