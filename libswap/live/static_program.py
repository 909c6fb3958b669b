"""A statically linked program as a process that can be worked on: one module, no dynamic linker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libswap.elf.link_map import AT_BASE, AT_PHDR, LinkMap, parse_auxv
from libswap.errors.live import LinkMapUnreadable
from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.procfs import PROC
from libswap.live import registry
from libswap.live.library import Library
from libswap.live.module import FileKey, LibraryCache, Module
from libswap.live.runtime import Runtime
from libswap.live.stacks import Areas
from libswap.live.subject import Subject
from libswap.live.thread import live_threads
from libswap.process.identity import Identity
from libswap.process.maps import maps_of

_MALLOC: Final = frozenset({
    "malloc", "free", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "valloc",
    "pvalloc", "malloc_trim", "_int_malloc", "_int_free", "_int_realloc", "_int_memalign",
    "sysmalloc", "malloc_consolidate", "unlink_chunk", "_mid_memalign", "systrim", "arena_get2",
    "tcache_init",
})  # fmt: skip


@contextmanager
def open_process(identity: Identity, cache: LibraryCache) -> Iterator[Subject]:
    """Look at a process, be it linked dynamically or statically.

    Raises:
        LibswapError: as `Subject.open`.
    """
    with _reading(identity.pid):
        linker = parse_auxv(PROC.read(live_threads(identity.pid)[0], "auxv")).get(AT_BASE)
    if linker:
        with Subject.open(identity, cache) as subject:
            yield subject
        return
    identity.check()
    with _reading(identity.pid):
        memory = ProcessMemory(live_threads(identity.pid)[0])
    with memory:
        yield _look(identity, memory, cache)


@contextmanager
def _reading(pid: int) -> Iterator[None]:
    """Reading files of a process that may end meanwhile: in words of our own."""
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    except PermissionError as error:
        raise ProcessUnreadable(pid, error.strerror or "") from None


def again(subject: Subject) -> Subject:
    """The same process as it is now."""
    if subject.modules[0].link.address:
        return subject.again()
    return _look(subject.identity, subject.memory, subject.cache)


def static_runtime(subject: Subject) -> Runtime:
    """What there is of a C library in it; a borrowed thread keeps out of malloc where it is named.

    Without a symbol table malloc cannot be found, nor called by anybody but the program itself.
    """
    module = subject.modules[0]
    avoid = [
        Range(module.base + s.value, module.base + s.value + s.size)
        for s in module.facts.statics
        if s.name in _MALLOC and s.size
    ]
    location = next((s.value for s in module.facts.statics if s.name == "__errno_location"), 0)
    return Runtime(
        dlopen=0, dlmopen=0, dlclose=0, dlerror=0, dlinfo=0,
        errno_location=location and module.base + location, avoid=Areas(avoid),
    )  # fmt: skip


def _look(identity: Identity, memory: ProcessMemory, cache: LibraryCache) -> Subject:
    with _reading(identity.pid):
        mappings = maps_of(memory.tid)
        headers = parse_auxv(PROC.read(memory.tid, "auxv")).get(AT_PHDR, 0)
    own = next((m for m in mappings if m.start <= headers < m.end and m.inode), None)
    if own is None:
        raise LinkMapUnreadable("its program headers are in no file")
    try:
        library = cache.opener(memory.tid)(own)
    except OSError as error:
        raise ProcessUnreadable(identity.pid, error.strerror or "") from None
    base = own.start - own.offset - _first(library)
    low, high = library.extent
    module = Module(
        LinkMap(0, base, "", 0, 0),
        Range(base + low, base + high),
        FileKey(own.major, own.minor, own.inode),
        os.fsdecode(own.name.removesuffix(b" (deleted)")),
        library,
    )
    place = registry.find(memory, mappings, identity.pid)
    return Subject(identity, memory, mappings, (module,), place, cache)


def _first(library: Library) -> int:
    """The virtual address of the file's first byte."""
    first = min(library.image.loads, key=lambda s: s.offset)
    return first.vaddr - first.offset
