"""Rules on the file as a whole: its machine, its kind and its name."""

from collections.abc import Iterator
from typing import Final

from libswap.abi import catalogue
from libswap.abi.finding import Finding
from libswap.elf.format import FileType
from libswap.elf.library import Library

_SYSV: Final = 0
_GNU: Final = 3
_EM_RISCV: Final = 243
_HARMLESS_FLAGS: Final = {_EM_RISCV: 0x1}
"""EF_RISCV_RVC: compressed instructions mix with plain ones (RISC-V ELF psABI, e_flags)."""


def machine(old: Library, new: Library) -> Iterator[Finding]:
    """Machine, class and byte order."""
    if old.target != new.target:
        yield catalogue.MACHINE.finding("", old.target, new.target)


def file_type(old: Library, new: Library) -> Iterator[Finding]:
    """Only a shared object that is not a program can be loaded into a process."""
    if new.type != FileType.DYN:
        yield catalogue.NOT_SHARED.finding("", _type_name(old.type), _type_name(new.type))
    elif not new.dynamic:
        missing = "no dynamic section, as in a separate debug file"
        yield catalogue.NOT_SHARED.finding("", _type_name(old.type), missing)
    elif new.pie and not old.pie:
        yield catalogue.PROGRAM.finding("", "a shared library", "a program (DF_1_PIE)")


def os_abi(old: Library, new: Library) -> Iterator[Finding]:
    """EI_OSABI and EI_ABIVERSION."""
    was, now = (old.os_abi, old.abi_version), (new.os_abi, new.abi_version)
    if was == now:
        return
    harmless = {old.os_abi, new.os_abi} <= {_SYSV, _GNU} and old.abi_version == new.abi_version
    rule = catalogue.OS_ABI_GNU if harmless else catalogue.OS_ABI
    yield rule.finding("", _abi_name(*was), _abi_name(*now))


def machine_flags(old: Library, new: Library) -> Iterator[Finding]:
    """e_flags."""
    if (old.flags ^ new.flags) & ~_HARMLESS_FLAGS.get(new.target.machine, 0):
        yield catalogue.MACHINE_FLAGS.finding("", f"{old.flags:#x}", f"{new.flags:#x}")


def soname(old: Library, new: Library) -> Iterator[Finding]:
    """DT_SONAME."""
    if old.soname == new.soname:
        return
    if old.soname is None:
        yield catalogue.SONAME_GAINED.finding("", "no SONAME", new.soname)
    elif new.soname is None:
        yield catalogue.SONAME_LOST.finding("", old.soname, "no SONAME")
    else:
        yield catalogue.SONAME_CHANGED.finding("", old.soname, new.soname)


def _type_name(number: int) -> str:
    known = {kind.value: f"ET_{kind.name}" for kind in FileType}
    return known.get(number, f"type {number}")


def _abi_name(os_abi: int, version: int) -> str:
    name = {_SYSV: "System V", _GNU: "GNU"}.get(os_abi, f"OS ABI {os_abi}")
    return f"{name} {version}" if version else name
