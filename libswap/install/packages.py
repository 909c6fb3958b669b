"""Which package a file belongs to, and what that package's manager would do to a replacement."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from libswap.errors.base import ProgramFailed
from libswap.linux import command

_TIMEOUT: Final = 30.0
_DPKG_FILES: Final = (
    "/var/lib/dpkg/status", "/var/lib/dpkg/info", "/var/lib/dpkg/diversions",
)  # fmt: skip
_MERGED: Final = ("/bin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/sbin/")


@dataclass(frozen=True, slots=True)
class Owner:
    """A package that installed a file.

    Attributes:
        path: the file.
        package: the package's name.
        manager: "dpkg" or "rpm".
        known_as: the file's path in the package, which a merged /usr may change.
    """

    path: str
    package: str
    manager: str
    known_as: str

    @property
    def advice(self) -> str:
        """The command that keeps the package's next upgrade from overwriting a replacement."""
        if self.manager == "rpm":
            return f"dnf versionlock add {shlex.quote(self.package)}"
        # ldconfig would take libX.so.1.distrib for a library; a name with a dot it passes by.
        directory, _, name = self.known_as.rpartition("/")
        aside = shlex.quote(f"{directory}/.{name}.distrib")
        return (
            f"dpkg-divert --local --no-rename --divert {aside} --add {shlex.quote(self.known_as)}"
        )


def owners(paths: Iterable[str]) -> tuple[Owner, ...]:
    """The packages that installed these files; none where no package manager knows them."""
    wanted = tuple(paths)
    if not wanted:
        return ()
    found = _dpkg(wanted, _dpkg_state()) if command.find("dpkg-query") else ()
    if command.find("rpm"):  # a machine may have both programs, and one of the two databases empty
        known = {owner.path for owner in found}
        found += tuple(owner for path in wanted if path not in known for owner in _rpm(path))
    return found


def _dpkg_state() -> tuple[int, ...]:
    """Changes with every package that comes or goes: dpkg renames new files over these."""
    found = []
    for name in _DPKG_FILES:
        try:
            found.append(os.stat(name).st_mtime_ns)  # noqa: PTH116
        except OSError:
            found.append(0)
    return tuple(found)


@lru_cache(maxsize=64)
def _dpkg(paths: tuple[str, ...], _state: tuple[int, ...]) -> tuple[Owner, ...]:
    """Ask dpkg-query(1) once for all, under both names that a merged /usr gives a file."""
    spelled = {name: path for path in paths for name in _spellings(path)}
    patterns = [_literal(name) for name in spelled]
    try:
        done = command.run(["dpkg-query", "--search", *patterns], timeout=_TIMEOUT)
    except ProgramFailed:
        return ()
    return parse_dpkg(done.text, spelled)


def parse_dpkg(text: str, spelled: dict[str, str]) -> tuple[Owner, ...]:
    """What `dpkg-query --search` printed: lines of "package[:arch][, …]: path".

    Args:
        text: its output.
        spelled: which path of ours each name stands for.
    """
    found = {}
    for line in text.split("\n"):
        package, separator, name = line.partition(": ")
        if separator and name in spelled and "diversion " not in package:
            found[spelled[name]] = Owner(spelled[name], package, "dpkg", name)
    return tuple(found.values())


def _rpm(path: str) -> tuple[Owner, ...]:
    try:
        done = command.run(["rpm", "-qf", "--queryformat", "%{NAME}\\n", path], timeout=_TIMEOUT)
    except ProgramFailed:
        return ()
    names = done.text.split()
    return (Owner(path, names[0], "rpm", path),) if done.status == 0 and names else ()


def _spellings(path: str) -> tuple[str, ...]:
    if path.startswith("/usr") and path[4:].startswith(_MERGED):
        return path, path[4:]
    return (path,)


def _literal(name: str) -> str:
    """A name as a pattern that matches only itself (dpkg-query(1), glob(7))."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in name)
