"""Where a library goes: the directory, the real name in it, and the link that must follow."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError, SystemRefused
from libswap.errors.install import NotReplaceable, SonameIsFile
from libswap.install.content import File, Link, Nothing, observe
from libswap.linux.files import Directory

_MAX_LINKS: Final = 40  # path_resolution(7)


@dataclass(frozen=True, slots=True)
class Target:
    """The names that change when a library is installed.

    Attributes:
        directory: the real path of their directory.
        name: the name that stands for the library itself.
        link: the SONAME link that is made or moved to `name`; None where none has to.
        supersedes: the name that the link led to so far, in the same directory.
    """

    directory: str
    name: str
    link: str | None = None
    supersedes: str | None = None

    @property
    def path(self) -> str:
        """The real path of the library."""
        return f"{self.directory.rstrip('/')}/{self.name}"


def resolve(destination: str, source: str, soname: str | None, *, dereference: bool) -> Target:
    """Where a library goes that is to be installed as, or into, `destination`.

    Into a directory, or under a name that does not exist yet, it is a versioned install: the new
    name stands beside the old one, and the SONAME link in that directory is moved to it.

    Args:
        destination: a file, a link, a directory, or a name that is still free.
        source: the path of the library, for its own name.
        soname: its DT_SONAME.
        dereference: whether a link is followed to the file that it leads to.

    Raises:
        NotReplaceable: there is no such directory, or the name is no file.
        SonameIsFile: a file stands where the SONAME link should be.
        SystemRefused: links lead in a circle, or out of what we may see.
    """
    assert destination  # noqa: S101  an empty word would mean the working directory
    into = Path(destination).is_dir()
    named = f"{destination.rstrip('/') or '/'}/{os.path.basename(source)}" if into else destination  # noqa: PTH119  foreign text
    directory, name = follow(named) if dereference else place(named)
    with Directory(directory) as held:
        status = held.lstat(name)
        if soname is None or soname == name or "/" in soname or not (into or status is None):
            return Target(directory, name)
        return _versioned(held, name, soname, source)


def _versioned(directory: Directory, name: str, soname: str, source: str) -> Target:
    match observe(directory, soname):
        case Nothing():
            return Target(directory.path, name, soname)
        case File():
            raise SonameIsFile(directory.join(soname), source)
        case Link(text) if text == name:
            return Target(directory.path, name)
        case Link():
            led_to = follow(directory.join(soname))
            old = led_to[1] if led_to[0] == directory.path and led_to[1] != name else None
            return Target(directory.path, name, soname, old)
    raise AssertionError


def follow(path: str) -> tuple[str, str]:
    """The real directory and the name that a path leads to through every link.

    Raises:
        SystemRefused: the links lead in a circle.
        NotReplaceable: the directory does not exist.
    """
    at = path
    for _ in range(_MAX_LINKS):
        directory, name = place(at)
        full = os.path.join(directory, name)  # noqa: PTH118  foreign text
        if not Path(full).is_symlink():
            return directory, name
        at = os.path.join(directory, os.readlink(full))  # noqa: PTH115, PTH118
    raise SystemRefused("follow the link", path, os.strerror(40))  # ELOOP


def real(path: str) -> str:
    """The path that a path leads to through every link; itself where it leads nowhere."""
    try:
        directory, name = follow(path)
    except LibswapError:
        return path
    return f"{directory.rstrip('/')}/{name}"


def place(path: str) -> tuple[str, str]:
    """The real directory and the last name of a path, that name not followed.

    Raises:
        NotReplaceable: the directory does not exist, or the path ends in no name.
    """
    parent, name = os.path.split(path)
    if name in ("", ".", ".."):
        raise NotReplaceable(path, "there is no such directory")
    try:
        return os.path.realpath(parent or ".", strict=True), name
    except OSError as error:
        raise NotReplaceable(path, f"its directory: {error.strerror}") from error
