"""A shared library (or a program) as one frozen set of facts: all that a comparison asks for.

Sources: gABI chapters 4 and 5; ld.so(8); for a missing PT_GNU_STACK, glibc's DEFAULT_STACK_PERMS.
"""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from libswap.elf.contents import FileBytes
from libswap.elf.dynamic import (
    DF_1_NODEFLIB,
    DF_1_NODELETE,
    DF_1_NOOPEN,
    DF_1_PIE,
    Dynamic,
    Tag,
    read_dynamic,
)
from libswap.elf.format import EM_386, EM_X86_64, FileType, SegmentFlags, SegmentType, Target
from libswap.elf.image import Image
from libswap.elf.notes import X86Properties, build_id, x86_properties
from libswap.elf.relocations import copied_symbols
from libswap.elf.symbols import (
    SHN_ABS,
    Binding,
    Symbol,
    SymbolKey,
    Visibility,
    dynamic_symbols,
)
from libswap.elf.versions import Version, version_definitions, version_needs
from libswap.errors.base import InvalidElf

_STACK_EXECUTABLE_UNLESS_SAID: Final = (EM_386, EM_X86_64)
_LOCAL: Final = int(Binding.LOCAL)
_EXPORTED: Final = frozenset({int(Visibility.DEFAULT), int(Visibility.PROTECTED)})
_MAX_INTERPRETER: Final = 4096  # PATH_MAX: what execve(2) reads

Exports: TypeAlias = Mapping[SymbolKey, Symbol]


class Relro(Enum):
    """How much is read-only once the dynamic linker has relocated it (ld(1) -z relro, -z now)."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Tls:
    """The thread-local storage that each thread gets from a library. In bytes."""

    size: int
    align: int
    static: bool


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """What a dynamic linker, and whoever was linked against the file, can know of it.

    Attributes:
        name: what to call the file.
        target: machine, class and byte order.
        type: e_type.
        dynamic: whether it has a dynamic section, without which it cannot be loaded.
        os_abi, abi_version: EI_OSABI and EI_ABIVERSION.
        flags: e_flags.
        interpreter: PT_INTERP, which programs have; None for nearly all libraries.
        build_id: in hexadecimal, or None.
        soname: DT_SONAME.
        needed: DT_NEEDED, in load order.
        rpath, runpath: DT_RPATH and DT_RUNPATH as they stand in the file, unexpanded.
        default_directories: False where DF_1_NODEFLIB forbids the default search directories.
        exports: what others can bind to, by name and version.
        imports: what it wants from others; strong and weak references.
        versions: the version nodes it defines, without the base one.
        base_version: the name of its base version node, which is nearly always the soname.
        version_needs: the nodes it wants, each with the soname it wants them from.
        copied: what a program copies out of a library into itself (copy relocations).
        tls: thread-local storage, or None.
        executable_stack: whether loading it makes the process's stacks executable.
        text_relocations: whether the loader must write into its code.
        relro: how much of it becomes read-only after relocation.
        bind_now: whether every slot is bound at load time.
        symbolic: whether its own definitions come first for its references.
        no_delete: whether dlclose(3) leaves it loaded.
        no_open: whether dlopen(3) refuses it.
        pie: whether it is a position-independent program.
        x86: CET features and needed instruction set level; zeros elsewhere.
        debug_info: whether DWARF stands in the file itself.
    """

    name: str
    target: Target
    type: int
    dynamic: bool
    os_abi: int
    abi_version: int
    flags: int
    interpreter: str | None
    build_id: str | None
    soname: str | None
    needed: tuple[str, ...]
    rpath: str | None
    runpath: str | None
    default_directories: bool
    exports: Exports
    imports: tuple[Symbol, ...]
    versions: tuple[str, ...]
    base_version: str | None
    version_needs: tuple[Version, ...]
    copied: frozenset[SymbolKey]
    tls: Tls | None
    executable_stack: bool
    text_relocations: bool
    relro: Relro
    bind_now: bool
    symbolic: bool
    no_delete: bool
    no_open: bool
    pie: bool
    x86: X86Properties
    debug_info: bool


def read_library(image: Image) -> Library:
    """Everything that `Library` holds, of a file with a dynamic section or without one.

    A file without a dynamic section (a static program, an object) has no exports and no needs.

    Raises:
        InvalidElf: a table that the dynamic linker would read is damaged.
    """
    header = image.header
    dynamic = read_dynamic(image) or Dynamic((), b"")
    symbols = dynamic_symbols(image, dynamic)
    nodes = version_definitions(image, dynamic)
    flags_1 = dynamic.value(Tag.FLAGS_1) or 0
    program = header.type == FileType.EXEC or image.segment(SegmentType.INTERP) is not None
    return Library(
        name=image.name,
        target=image.target,
        type=header.type,
        dynamic=bool(dynamic.entries),
        os_abi=header.os_abi,
        abi_version=header.abi_version,
        flags=header.flags,
        interpreter=_interpreter(image),
        build_id=build_id(image),
        soname=dynamic.soname,
        needed=dynamic.needed,
        rpath=dynamic.text(Tag.RPATH),
        runpath=dynamic.text(Tag.RUNPATH),
        default_directories=not flags_1 & DF_1_NODEFLIB,
        exports=_exports(symbols),
        imports=tuple(
            s for s in symbols if not s.section and s.name and s.binding != Binding.LOCAL
        ),
        versions=tuple(name for index, name in nodes.items() if index > 1),
        base_version=nodes.get(1),
        version_needs=tuple(version_needs(image, dynamic).values()),
        copied=copied_symbols(image, dynamic, symbols) if program else frozenset(),
        tls=_tls(image, dynamic),
        executable_stack=_executable_stack(image),
        text_relocations=dynamic.text_relocations,
        relro=_relro(image, dynamic),
        bind_now=dynamic.bind_now,
        symbolic=dynamic.symbolic,
        no_delete=bool(flags_1 & DF_1_NODELETE),
        no_open=bool(flags_1 & DF_1_NOOPEN),
        pie=bool(flags_1 & DF_1_PIE),
        x86=x86_properties(image),
        debug_info=_debug_info(image),
    )


def _exports(symbols: tuple[Symbol, ...]) -> Exports:
    """The definitions that others can bind to; GNU ld's mark for each version node is none."""
    found: dict[SymbolKey, Symbol] = {}
    for symbol in symbols:
        name, version, _, _, _, _, section, _, binding, visibility = symbol
        if section and name and binding != _LOCAL and visibility in _EXPORTED:
            if section == SHN_ABS and name == version:
                continue
            found[SymbolKey(name, version)] = symbol
    return found


def _interpreter(image: Image) -> str | None:
    segment = image.segment(SegmentType.INTERP)
    if segment is None:
        return None
    size = min(segment.filesz, _MAX_INTERPRETER)
    path = image.at_offset(segment.offset, size, "the interpreter's path")
    return os.fsdecode(path.split(b"\0", 1)[0])


def _tls(image: Image, dynamic: Dynamic) -> Tls | None:
    segment = image.segment(SegmentType.TLS)
    return Tls(segment.memsz, max(segment.align, 1), dynamic.static_tls) if segment else None


def _executable_stack(image: Image) -> bool:
    stack = image.segment(SegmentType.GNU_STACK)
    if stack is None:
        return image.header.machine in _STACK_EXECUTABLE_UNLESS_SAID
    return bool(stack.flags & SegmentFlags.X)


def _relro(image: Image, dynamic: Dynamic) -> Relro:
    if image.segment(SegmentType.GNU_RELRO) is None:
        return Relro.NONE
    return Relro.FULL if dynamic.bind_now else Relro.PARTIAL


def _debug_info(image: Image) -> bool:
    try:
        names = {section.name for section in image.sections}
    except InvalidElf:
        return False  # the dynamic linker reads no section either: such a library still loads
    return bool(names & {".debug_info", ".zdebug_info"})


class Libraries:
    """Libraries that have been read, so that a file which many processes map is read once."""

    def __init__(self) -> None:
        self._read: dict[Hashable, Library] = {}

    def of(self, image: Image) -> Library:
        """The facts of a file, by what the kernel says of it.

        Raises:
            InvalidElf: it is damaged.
        """
        key = image.data.identity if isinstance(image.data, FileBytes) else image
        if key not in self._read:
            self._read[key] = read_library(image)
        return self._read[key]
