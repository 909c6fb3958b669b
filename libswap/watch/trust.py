"""Who could put something into a directory, or another directory in its place."""

import os
import stat
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from libswap.errors.watch import UntrustedDrop
from libswap.linux.files import Directory

_ROOT: Final = 0


def open_trusted(path: str, *, sticky: bool = False) -> Directory:
    """Open a directory, made sure that only root and we can change it or what it is.

    Each part of the path is opened below the one before, links not followed, so that what was
    judged is what is opened.

    Args:
        path: real, without links.
        sticky: whether others may add names to it, so long as they cannot touch ours.

    Raises:
        UntrustedDrop: others can.
        SystemRefused: it cannot be opened.
    """
    held = Directory("/")
    try:
        _require_ours(held, last=path == "/" and not sticky)
        for place, last in _steps(path):
            below = held.below(place)
            held.close()
            held = below
            _require_ours(held, last=last and not sticky)
    except BaseException:
        held.close()
        raise
    return held


def _steps(path: str) -> Iterator[tuple[str, bool]]:
    parts = PurePath(path).parts[1:]
    for number, part in enumerate(parts, 1):
        yield part, number == len(parts)


def _require_ours(directory: Directory, *, last: bool) -> None:
    reason = objection(directory.status, os.geteuid(), last=last)
    if reason:
        raise UntrustedDrop(directory.path, reason)


def objection(status: os.stat_result, uid: int, *, last: bool) -> str:
    """Why a directory on the way is not to be trusted; "" where it is.

    Where the sticky bit is set, as in /tmp, others can add names but not remove or rename ours
    (unlink(2), EPERM); that will do for what lies above, not for the directory itself. An access
    list that lets others write shows in the group's bits (acl(5)).

    Args:
        status: of the directory.
        uid: ours.
        last: whether it is the directory itself and not one above it.
    """
    if status.st_uid not in (_ROOT, uid):
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & stat.S_ISVTX and not last:
        return ""
    return others_write(status, uid)


def others_write(status: os.stat_result, uid: int) -> str:
    """Who but root and us can write to an inode; "" for nobody."""
    if status.st_uid not in (_ROOT, uid):
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return "everybody can write to it"
    if status.st_mode & stat.S_IWGRP and status.st_gid != _ROOT:
        return f"the group {status.st_gid} can write to it"
    return ""
