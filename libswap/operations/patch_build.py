"""Build a patch file from objects or sources and the file that they are to change."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libswap.elf.closure import closure
from libswap.elf.debugfile import with_symbols
from libswap.elf.format import SegmentType
from libswap.elf.image import Image
from libswap.elf.library import Libraries, read_library
from libswap.elf.relocatable import Relocatable, read_relocatable
from libswap.elf.search import Requester, Search
from libswap.elf.subprograms import Subprogram, subprograms
from libswap.errors.base import InvalidElf, MissingTool, UsageError
from libswap.errors.patch import CompilerFailed, NothingToReplace
from libswap.linux.command import find, run
from libswap.linux.files import Directory, refusal, sync, write_all
from libswap.linux.rooted import Root
from libswap.linux.scheduling import without_collection
from libswap.patch.file import encode, identity
from libswap.patch.findings import Finding, Severity, stop_at
from libswap.patch.link import Wishes, link
from libswap.patch.patch import Kind, Patch
from libswap.patch.target import Target

_COMPILERS: Final[Mapping[str, str]] = {
    ".c": "cc", ".s": "cc", ".S": "cc",
    ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".C": "c++",
}  # fmt: skip
_FLAGS: Final = ("-c", "-g", "-O2", "-fno-lto", "-fcf-protection=none")
_COMPILE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        sources: objects (.o), C and C++ files.
        target: the program or library.
        output: the patch file.
        wishes: what the author says.
        cflags: more words for the compiler.
        debug_file: the file with the target's symbols; None to look for it.
        libraries: files that define what neither the target nor what it needs does.
        dry_run: link, and write nothing.
    """

    sources: Sequence[Path]
    target: Path
    output: Path
    wishes: Wishes = field(default_factory=Wishes)
    cflags: Sequence[str] = ()
    debug_file: Path | None = None
    libraries: Sequence[Path] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """A patch file that was written.

    Attributes:
        identity: its checksum, by which a running process knows it.
        size: of the file in bytes.
        written: whether it is there; a dry run writes nothing.
    """

    path: Path
    identity: str
    size: int
    patch: Patch
    written: bool


def build(request: Request) -> Built:
    """Link, and write the file: it is whole or it is not there.

    Raises:
        UsageError: a source is neither an object nor C or C++.
        CompilerFailed: the compiler refused a source.
        LibswapError: see `libswap.patch.link.link`.
        SystemRefused: a file cannot be read or written.
    """
    with refusal("read", str(request.target)):
        image = Image.open(request.target)
    with (
        without_collection(),
        tempfile.TemporaryDirectory(prefix="libswap-") as work,
        Root.open("/") as here,
    ):
        path = str(request.target.resolve())
        symbols = _symbols(request, image, path, here)
        given = _opened(request.libraries)
        target = Target(image, symbols, lambda: (*given, *_needed(image, path, here)))
        flags = _model(target)
        objects = [
            Image.open(_compiled(source, Path(work), (flags, *request.cflags)))
            for source in request.sources
        ]
        read = [
            replace(read_relocatable(o), name=str(s))
            for o, s in zip(objects, request.sources, strict=True)
        ]
        patch = _linked(read, objects, target, symbols, request.wishes)
    data = encode(patch)
    if not request.dry_run:
        _write(request.output, data)
    return Built(request.output, identity(data), len(data), patch, written=not request.dry_run)


def _linked(
    read: Sequence[Relocatable],
    objects: Sequence[Image],
    target: Target,
    debug: Image | None,
    wishes: Wishes,
) -> Patch:
    functions = {s.name: None for one in read for s in one.symbols if s.is_function and s.defined}
    new: dict[str, Subprogram] = {}
    for image in objects:
        new |= subprograms(image, dict.fromkeys(functions))
    results = {name: one.results for name, one in new.items()}
    try:
        patch = link(read, target, replace(wishes, force=True), results)
    except NothingToReplace as error:
        stop_at(_only_copies(debug, error.functions), target.image.name, force=False)
        raise
    found = (*patch.findings, *_by_debug_information(patch, new, debug))
    stop_at(found, target.image.name, force=wishes.force)
    return replace(patch, findings=found)


def _model(target: Target) -> str:
    """A static program knows where its thread-local variables are, and may lack __tls_get_addr."""
    loaded = target.image.segment(SegmentType.INTERP) is not None
    return "-fPIC" if loaded or target.kind is Kind.LIBRARY else "-fPIE"


def _by_debug_information(
    patch: Patch, new: Mapping[str, Subprogram], debug: Image | None
) -> list[Finding]:
    names = ", ".join(r.label for r in patch.replaced)
    old = subprograms(debug, {r.name: r.vaddr for r in patch.replaced}) if debug else {}
    if not old:
        detail = (
            "the target has no debug information: whether copies of it were inlined into other"
            " functions, and whether its parameters are still the same, is not known"
        )
        return [Finding(Severity.NOTE, "no-debug-information", names, detail)]
    replaced = {r.name for r in patch.replaced}
    found = []
    for one in patch.replaced:
        if one.name in old:
            found += _compared(one.label, old[one.name], new.get(one.by), replaced)
    return found


def _only_copies(debug: Image | None, functions: Sequence[str]) -> list[Finding]:
    """The functions that exist in the target, but only inside of others."""
    found = subprograms(debug, dict.fromkeys(functions)) if debug else {}
    return [
        Finding(
            Severity.REFUSE,
            "inlined",
            name,
            f"there are only copies of it, inside of {', '.join(one.inlined_into)}",
            "put those functions into the patch",
        )
        for name, one in found.items()
        if one.inlined_into
    ]


def _compared(
    label: str, old: Subprogram, new: Subprogram | None, replaced: set[str]
) -> list[Finding]:
    found = []
    into = [name for name in old.inlined_into if name not in replaced]
    if into:
        detail = f"{', '.join(into)} have a copy of the old code inside, which stays as it is"
        advice = "put those functions into the patch too"
        found.append(Finding(Severity.RISK, "inlined", label, detail, advice))
    if new is not None and new.shape != old.shape:
        detail = f"its callers call {old}, and the patch defines {new}"
        advice = "keep its parameters as they are"
        found.append(Finding(Severity.RISK, "signature-changed", label, detail, advice))
    return found


def _symbols(request: Request, image: Image, path: str, here: Root) -> Image | None:
    """The file with the symbol table, and the debug information, of the target."""
    if request.debug_file is None:
        return with_symbols(image, path, (here,))
    return _opened((request.debug_file,))[0]


def _opened(paths: Sequence[Path]) -> list[Image]:
    found = []
    for path in paths:
        with refusal("read", str(path)):
            found.append(Image.open(path))
    return found


def _needed(image: Image, path: str, here: Root) -> list[Image]:
    """The libraries that would be loaded with the target here; what is missing tells nothing."""
    try:
        library = read_library(image)
        search = Search.glibc(here, library.target)
        chain = (Requester(str(Path(path).parent), library),)
        found = closure(search, chain, Libraries(), extra=("libc.so.6",))
        return [Image.open(one.name) for one in found.libraries]
    except (InvalidElf, OSError):
        return []


def _compiled(source: Path, work: Path, flags: Sequence[str]) -> Path:
    """The object of a source; an object is its own."""
    if source.suffix == ".o":
        return source
    compiler = _COMPILERS.get(source.suffix)
    if compiler is None:
        raise UsageError(
            f"{source} is neither an object (.o) nor C or C++",
            "Compile it yourself: libswap patch build takes objects.",
        )
    program = find(compiler)
    if program is None:
        raise MissingTool(compiler, f"compile {source}", "apt install gcc g++, or clang")
    made = work / f"{len(list(work.iterdir()))}.o"
    argv = [program, *_FLAGS, *flags, "-o", str(made), str(source.resolve())]
    done = run(argv, timeout=_COMPILE_SECONDS, directory=str(Path.cwd()))
    if done.status:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise CompilerFailed(str(source), said or done.complaint)
    return made


def _write(path: Path, data: bytes) -> None:
    """Beside its place, then renamed: a crash leaves the old file or the new one, never less."""
    with Directory(str(path.parent)) as directory:
        temporary = f".{path.name}.{os.getpid()}"
        descriptor = directory.create(temporary, 0o644)
        try:
            write_all(descriptor, data, str(path))
            sync(descriptor, str(path))
        except BaseException:
            directory.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        directory.rename(temporary, path.name)
        directory.sync()
