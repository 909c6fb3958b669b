"""Descriptions of handles: which there are, what one says, and a first one for a library."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from libswap.elf.debugfile import with_debug_info
from libswap.elf.image import Image
from libswap.elf.subprograms import Subprogram, subprograms
from libswap.errors.handles import HandlesUnknown, PrototypesMissing
from libswap.linux.files import refusal
from libswap.linux.rooted import Root
from libswap.live.draining import drafting
from libswap.live.draining.handles import Description
from libswap.live.draining.reading import descriptions, read
from libswap.live.library import Library
from libswap.operations.headers import declared


@dataclass(frozen=True, slots=True)
class Summary:
    """One description.

    Attributes:
        name: of it.
        libraries: the sonames that it is for.
        kinds: how many names it has of which kind.
    """

    name: str
    libraries: tuple[str, ...]
    kinds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """All of them, in the order in which they are asked."""

    descriptions: tuple[Summary, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """What a description says of a name."""

    name: str
    kind: str
    by: tuple[str, ...]
    gives: tuple[str, ...]
    when: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One description in full."""

    name: str
    libraries: tuple[str, ...]
    functions: tuple[Function, ...]
    unfit: tuple[str, ...]
    hidden: tuple[str, ...]
    risk: str


@dataclass(frozen=True, slots=True)
class Drafted:
    """A first description of a library.

    Attributes:
        library: its file.
        handles: types that were taken for handles.
        toml: the description.
    """

    library: str
    handles: tuple[str, ...]
    toml: str


def listed() -> Listed:
    """Every description of this machine.

    Raises:
        HandlesInvalid: one cannot be understood.
    """
    return Listed(tuple(map(_summary, descriptions())))


def shown(name: str) -> Shown:
    """One by its name, its library, or its file.

    Raises:
        HandlesInvalid: it cannot be understood.
        HandlesUnknown: there is none.
        SystemRefused: its file cannot be read.
    """
    found = read(Path(name)) if name.endswith(".toml") else _named(name)
    functions = tuple(
        Function(n, "private" if r.private else r.kind, tuple(map(str, r.by)),
                 tuple(map(str, r.gives)), str(r.when))
        for n, r in found.rules
    )  # fmt: skip
    unfit = (*found.unfit, *(" with ".join(names) for names in found.together))
    return Shown(found.name, found.libraries, functions, unfit, found.hidden, found.risk)


def drafted(path: Path, headers: Sequence[Path] = (), cflags: Sequence[str] = ()) -> Drafted:
    """Guess a description from the headers of a library, or from its debug information.

    Args:
        path: the library.
        headers: what declares its functions; none to read its debug information.
        cflags: more words for the compiler that reads the headers.

    Raises:
        CompilerFailed: the compiler refuses the headers.
        InvalidElf: it is no library.
        MissingTool: there is no compiler.
        PrototypesMissing: nothing tells what its functions take.
        SystemRefused: it cannot be read.
    """
    with refusal("read", str(path)):
        image = Image.open(str(path))
    library = Library(image)
    names = {n.name: s.value for n, s in library.exported.items() if s.is_function}
    found = declared(headers, names, cflags) if headers else _debugged(image, path, names)
    if not found:
        raise PrototypesMissing(str(path))
    functions = [
        drafting.Function(s.name, (s.returns[0], s.kinds[0]), _kinds(s))
        for s in found.values() if s.name in names
    ]  # fmt: skip
    handles = drafting.handle_types(functions)
    internal = sorted(names.keys() - found.keys()) if headers else []
    soname = library.dynamic.soname or path.name
    toml = drafting.as_toml(soname, functions, handles, internal)
    return Drafted(str(path), tuple(sorted(handles)), toml)


def _debugged(image: Image, path: Path, names: Mapping[str, int]) -> dict[str, Subprogram]:
    with Root.open("/") as here:
        debug = with_debug_info(image, os.path.realpath(path), (here,))
    return subprograms(debug, dict(names)) if debug is not None else {}


def _kinds(function: Subprogram) -> tuple[tuple[int, str], ...]:
    """Its parameters by size and type, whatever typedef calls that."""
    return tuple((p[0], k) for p, k in zip(function.parameters, function.kinds[1:], strict=True))


def _named(name: str) -> Description:
    for description in descriptions():
        if name == description.name or name in description.libraries:
            return description
    raise HandlesUnknown(name)


def _summary(description: Description) -> Summary:
    kinds = Counter("private" if r.private else r.kind for _, r in description.rules)
    return Summary(description.name, description.libraries, dict(sorted(kinds.items())))
