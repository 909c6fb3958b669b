"""A file for other programs to read: there in whole or not at all, and never through a link."""

import os
import secrets

from libswap.errors.base import SystemRefused
from libswap.linux.files import Directory, is_regular, refusal, sync, write_all


def require_publishable(path: str) -> None:
    """Find out before the work that its result could be written.

    Raises:
        SystemRefused: the directory is not there or not ours to write to, or something that is no
            regular file (a link, a device) has the name.
    """
    with _directory(path) as directory:
        _require_plain(directory, path)
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory.descriptor):
            raise SystemRefused("write to", directory.path, "permission denied")


def publish(path: str, data: bytes, mode: int | None = None) -> None:
    """Give a name to new contents; who reads meanwhile has the old ones or the new ones.

    Args:
        path: the file; what it stands for must be a regular file or nothing.
        data: the contents.
        mode: its permissions; by default what the umask leaves of 0666.

    Raises:
        SystemRefused, NoSpace: it could not be written; the old contents are still there.
    """
    with _directory(path) as directory:
        name = _require_plain(directory, path)
        stage = f".{name[:200]}.{secrets.token_hex(4)}.tmp"  # no collector reads *.tmp
        descriptor = directory.create(stage, 0o666)
        try:
            with refusal("write", path):
                write_all(descriptor, data, path)
                if mode is not None:
                    os.fchmod(descriptor, mode)
            sync(descriptor, path)
            directory.rename(stage, name)
        except BaseException:
            directory.unlink(stage)
            raise
        finally:
            os.close(descriptor)


def _directory(path: str) -> Directory:
    """Where it lies; links on the way there are the user's own words."""
    return Directory(os.path.realpath(os.path.dirname(path) or "."))  # noqa: PTH120  a string


def _require_plain(directory: Directory, path: str) -> str:
    name = os.path.basename(path)  # noqa: PTH119  a string, which pathlib would tidy up
    if name in ("", ".", ".."):
        raise SystemRefused("write", path or "a file without name", "it names a directory")
    status = directory.lstat(name)
    if status is not None and not is_regular(status):
        raise SystemRefused("write", path, "a link, a directory or a device has this name")
    return name
