"""libswap and what it depends on in one file, which any python3 of the right version runs.

The same installed files give the same bytes, so that a digest names what runs on a machine.
"""

import hashlib
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

import libswap
from libswap.errors.fleet import Unbundled
from libswap.fleet import archive_main
from libswap.fleet.bytecode import bytecode

SHEBANG: Final = b"#!/usr/bin/env -S python3 -I -S\n"
"""Nothing of the user's environment, and none of the machine's packages."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can bear
_EXTRAS: Final = ("live",)
_COMPILED: Final = ("libswap", "elftools", "typer", "annotated_doc", "shellingham")
"""What a command on a machine imports: to compile it there would take longer than the command."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One file that is a whole libswap.

    Attributes:
        data: its bytes.
        sha256: their digest, in hexadecimal.
    """

    data: bytes
    sha256: str


@cache
def bundle() -> Bundle:
    """Make it from what is installed here, once in a run.

    Raises:
        Unbundled: libswap, or a distribution that it requires, is not installed as files that are
            known.
    """
    files = {name: path for name, path in _entries() if "__pycache__" not in name}
    data = archive(files, _COMPILED)
    return Bundle(data, hashlib.sha256(data).hexdigest())


def archive(entries: Mapping[str, Path], compiled: Collection[str] = ()) -> bytes:
    """A program in one file.

    Args:
        entries: the files, by their names in it; `__main__.py` is what is run.
        compiled: directories whose modules stand there compiled too, for a Python of our version.
    """
    out = BytesIO(SHEBANG)
    out.seek(0, 2)
    with zipfile.ZipFile(out, "a") as file:
        for name, path in sorted(entries.items()):
            data = path.read_bytes()
            file.writestr(_about(name), data)
            if name.endswith(".py") and name.partition("/")[0] in compiled:
                file.writestr(_about(f"{name}c"), bytecode(data, name))
    return out.getvalue()


def _about(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _entries() -> Iterator[tuple[str, Path]]:
    package = Path(libswap.__file__).parent
    if not package.is_dir():
        raise Unbundled("libswap", "is itself one file here")
    yield "__main__.py", Path(archive_main.__file__)
    for path in package.rglob("*"):
        if path.is_file():
            yield str(PurePosixPath("libswap", path.relative_to(package))), path
    for distribution in _distributions():
        if distribution.files is None:  # as the packages of some systems are installed
            raise Unbundled(distribution.name, "has no list of its files here (RECORD)")
        files = [f for f in distribution.files if f.parts[0] != ".."]
        native = {f.parts[0] for f in files if f.suffix == ".so"}
        for file in files:
            if file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                below = archive_main.NATIVE if file.parts[0] in native else ""
                yield f"{below}{file}", Path(str(file.locate()))


def _distributions() -> Iterator[metadata.Distribution]:
    """What libswap requires here, and what that requires."""
    seen, todo = {"libswap"}, list(_required("libswap", _EXTRAS))
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            yield metadata.distribution(name)
            todo += _required(name, ())


def _required(name: str, extras: tuple[str, ...]) -> Iterator[str]:
    """Names of what a distribution requires, where that is installed.

    A requirement with a marker other than an extra is taken if it is installed: for another Python
    or system it would not be.
    """
    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        raise Unbundled(name) from None
    for line in lines:
        requirement, _, marker = line.partition(";")
        found = _NAME.match(requirement.strip())
        wanted = _EXTRA.search(marker)
        if found is None or (wanted is not None and wanted[1] not in extras):
            continue
        canonical = re.sub(r"[-_.]+", "-", found[0]).lower()
        try:
            metadata.distribution(canonical)
        except metadata.PackageNotFoundError:
            if not marker or wanted is not None:
                raise Unbundled(canonical) from None
            continue
        yield canonical
