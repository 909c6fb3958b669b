"""What a libswap in one file starts with (`__main__` of the archive that `bundle` writes).

A compiled extension cannot be imported from an archive. Its files, below native/, are unpacked into
a private directory when it is first asked for, and removed when Python ends. An archive that holds
what `bundle` would not write is not run at all.
"""

import atexit
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Final
from zipfile import ZipFile, ZipInfo

NATIVE = "native/"
_MOST_FILES: Final = 20_000
_MOST_BYTES: Final = 256 << 20
"""Unpacked: many times what there is."""


class Unpacker(MetaPathFinder):
    """Finds the packages with compiled extensions.

    Attributes:
        unfit: why nothing of the archive may be unpacked; "" where it may.
    """

    def __init__(self, archive: str) -> None:
        """Note which there are."""
        self._archive = archive
        with ZipFile(archive) as file:
            self._names = tuple(n for n in file.namelist() if n.startswith(NATIVE))
            self.unfit = _unfit(file.infolist())
        self._packages = {name.removeprefix(NATIVE).partition("/")[0] for name in self._names}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Unpack one of them, and find it there."""
        if path is not None or fullname not in self._packages:
            return None
        directory = tempfile.mkdtemp(prefix="libswap-")  # mode 0700
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        wanted = [n for n in self._names if n.startswith(f"{NATIVE}{fullname}/")]
        with ZipFile(self._archive) as file:
            file.extractall(directory, wanted)
        return PathFinder.find_spec(fullname, [str(Path(directory, NATIVE))], target)


def _unfit(files: Sequence[ZipInfo]) -> str:
    """What an archive holds that none of ours does: links, ways out of it, more than there is."""
    if len(files) > _MOST_FILES or sum(file.file_size for file in files) > _MOST_BYTES:
        return "it unpacks to more than any libswap"
    for file in files:
        path, kind = PurePosixPath(file.filename), stat.S_IFMT(file.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or kind not in (0, stat.S_IFREG):
            return f"{file.filename!r} is no plain file inside of it"
    return ""


def start() -> int:
    """Run libswap."""
    unpacker = Unpacker(sys.path[0])
    if unpacker.unfit:
        from libswap.errors.fleet import InvalidArchive  # noqa: PLC0415  costs only who meets it

        error = InvalidArchive(sys.path[0], unpacker.unfit)
        sys.stderr.write(f"libswap: {error.message}. {error.hint}\n")
        return error.exit_code
    sys.meta_path.insert(0, unpacker)
    from libswap.__main__ import main  # noqa: PLC0415  only now can all of it be imported

    return main()


if __name__ == "__main__":
    sys.exit(start())
