"""The C library of a process: what loads libraries there, and what a borrowed thread must avoid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.format import EM_X86_64
from libswap.errors.live import NotSwappable
from libswap.linux.memory import Range
from libswap.live.loader_locks import LoaderLocks
from libswap.live.module import Module
from libswap.live.redirect import code_ranges
from libswap.live.stacks import Areas

RTLD_NOW: Final = 2
RTLD_NOLOAD: Final = 4
RTLD_GLOBAL: Final = 0x100
RTLD_DI_LMID: Final = 1

_MALLOC: Final = ("malloc", "free", "calloc", "realloc", "memalign", "aligned_alloc",
                  "posix_memalign", "valloc", "pvalloc", "malloc_trim")  # fmt: skip
_BEFORE: Final = 0x4000
_BEHIND: Final = 0x1000
"""malloc.c's static functions lie beside its exported ones, which strip leaves named."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Addresses in the process; 0 for what it does not have.

    Attributes:
        avoid: code of the loader and of the allocator.
        loader_locks: what a constructor that crashes leaves held; None where it is not known.
    """

    dlopen: int
    dlmopen: int
    dlclose: int
    dlerror: int
    dlinfo: int
    errno_location: int
    avoid: Areas
    loader_locks: LoaderLocks | None = None


def runtime_of(modules: Sequence[Module]) -> Runtime:
    """Find them among the loaded modules.

    Raises:
        NotSwappable: the process has no dlopen, or none that is known to work from outside.
    """
    _check_machine(modules)
    if any(is_loader(m) and "/ld-musl-" in m.link.name for m in modules):
        raise NotSwappable(
            "musl", "its C library is musl, whose loader and malloc cannot be told from the rest",
            "restart the process",
        )  # fmt: skip
    found = {name: _address(modules, name) for name in (
        "dlopen", "dlmopen", "dlclose", "dlerror", "dlinfo", "__errno_location",
    )}  # fmt: skip
    if not found["dlopen"]:
        raise NotSwappable(
            "no-dlopen", "the C library of the process has no dlopen", "restart the process"
        )
    return Runtime(
        dlopen=found["dlopen"],
        dlmopen=found["dlmopen"],
        dlclose=found["dlclose"],
        dlerror=found["dlerror"],
        dlinfo=found["dlinfo"],
        errno_location=found["__errno_location"],
        avoid=Areas(_avoid(modules)),
        loader_locks=_loader_locks(modules),
    )


def is_loader(module: Module) -> bool:
    """Whether it is the dynamic linker."""
    soname = (module.library.dynamic.soname if module.library else "") or ""
    # musl's is its C library too: one nameless file, linked to by that name.
    paths = (module.path, module.link.name)
    return soname.startswith(("ld-linux", "ld-musl")) or any("/ld-musl-" in p for p in paths)


def is_c_library(module: Module) -> bool:
    """Whether it is the C library or a part of it."""
    soname = (module.library.dynamic.soname if module.library else "") or ""
    return soname in _PARTS_OF_LIBC or is_loader(module)


_PARTS_OF_LIBC: Final = frozenset({"libc.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
                                   "libm.so.6", "libc.so"})  # fmt: skip


def _loader_locks(modules: Sequence[Module]) -> LoaderLocks | None:
    unlock = _address(modules, "pthread_mutex_unlock")
    for module in modules:
        if unlock and is_loader(module) and module.library is not None:
            for name, symbol in module.library.exported.items():
                if name.name == "_rtld_global":
                    at = module.base + symbol.value
                    code = tuple(
                        Range(module.base + c.start, module.base + c.end)
                        for c in code_ranges(module.library)
                    )
                    return LoaderLocks(Range(at, at + symbol.size), unlock, code)
    return None


def _check_machine(modules: Sequence[Module]) -> None:
    if not modules or modules[0].library is None:
        reason = modules[0].reason if modules else "nothing is loaded"
        raise NotSwappable("unreadable-program", f"the program cannot be read: {reason}",
                           "run libswap as root")  # fmt: skip
    header = modules[0].library.image.header
    if header.bits != 64 or header.machine != EM_X86_64:
        raise NotSwappable(
            "other-machine",
            f"it is a {header.bits}-bit {header.machine_name} program",
            "restart the process",
        )


def _address(modules: Sequence[Module], name: str) -> int:
    for module in modules:
        if module.library is None or not is_c_library(module) or module.link.namespace:
            continue
        if name in module.library.offered:
            return module.base + module.library.offered[name]
    return 0


def _avoid(modules: Sequence[Module]) -> Iterator[Range]:
    for module in modules:
        if module.library is None:
            continue
        named = module.library.offered
        if is_loader(module):  # before 2.32 it has a malloc of its own, for itself
            for code in code_ranges(module.library):
                yield Range(module.base + code.start, module.base + code.end)
        elif "malloc" in named and "free" in named:
            yield from _around(module, [named[n] for n in _MALLOC if n in named])


def _around(module: Module, places: list[int]) -> Iterator[Range]:
    if is_c_library(module):
        low, high = min(places) - _BEFORE, max(places) + _BEHIND
        yield Range(module.base + low, module.base + high)
    else:  # an allocator of its own: all of it
        for code in code_ranges(module.facts):
            yield Range(module.base + code.start, module.base + code.end)
