"""What a libswap in one file starts with (`__main__` of the archive that `bundle` writes).

A compiled extension cannot be imported from an archive. Its files, below native/, are unpacked into
a private directory when it is first asked for, and removed when Python ends. Nothing here can judge
the archive, whose own code this is: its digest is verified before it is run (module_utils/tool.py).
"""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

NATIVE = "native/"


class Unpacker(MetaPathFinder):
    """Finds the packages with compiled extensions."""

    def __init__(self, archive: str) -> None:
        """Note which there are."""
        self._archive = archive
        with ZipFile(archive) as file:
            self._names = tuple(n for n in file.namelist() if n.startswith(NATIVE))
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


def start() -> int:
    """Run libswap."""
    sys.meta_path.insert(0, Unpacker(sys.path[0]))
    from libswap.__main__ import main  # noqa: PLC0415  only now can all of it be imported

    return main()


if __name__ == "__main__":
    sys.exit(start())
