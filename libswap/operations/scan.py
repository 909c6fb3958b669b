"""Who uses which library, on the whole machine or of given files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from libswap.errors.base import UsageError
from libswap.errors.process import NobodyMaps
from libswap.scan.scanner import Scan, scan
from libswap.scan.superseded import Record
from libswap.settings import HISTORY, Settings

if TYPE_CHECKING:
    from libswap.scan.census import Looking
    from libswap.scan.usage import Usage


def scan_machine(settings: Settings, looking: "Looking | None" = None) -> Scan:
    """Every process that still runs a library which was deleted, replaced or overwritten.

    Args:
        settings: where the history lies.
        looking: a census that has begun; without it one is begun here.
    """
    found = scan(_records(settings), looking=looking)
    if not found.groups:
        return found
    from libswap.operations.moved import without_moved  # noqa: PLC0415  as long as a whole scan

    return without_moved(found)


def scan_files(paths: Sequence[str], settings: Settings) -> "Usage":
    """Every process that maps one of these files, current or not.

    Args:
        paths: files, or bare names such as libz.so.1 for whatever file of that name is mapped.
        settings: where the history lies.

    Raises:
        UsageError: a path is a directory.
        NobodyMaps: a path names no file, and nothing that is mapped had that name.
    """
    from libswap.scan.usage import users_of  # noqa: PLC0415  the machine is scanned without it

    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112  a string is what the user gave
            raise UsageError(
                f"{path} is a directory", "Name the libraries in it, for example by *.so*"
            )
    usage = users_of(paths, _records(settings))
    if any(use.stale for user in usage.users for use in user.uses):
        from libswap.operations.moved import settled  # noqa: PLC0415

        usage = replace(usage, users=tuple(map(settled, usage.users)))
    for wanted in usage.files:
        if wanted.file is None and wanted.path in usage.unused:
            raise NobodyMaps(wanted.path, len(usage.uninspected))
    return usage


def _records(settings: Settings) -> tuple[Record, ...]:
    """What our own history says was replaced; none where there is none, or we may not read it."""
    if not os.access(settings.state_dir / HISTORY, os.R_OK):
        return ()
    return tuple(_replaced(settings))


def _replaced(settings: Settings) -> Iterator[Record]:
    from libswap.install import history  # noqa: PLC0415  most machines that are scanned have none
    from libswap.install.content import File  # noqa: PLC0415
    from libswap.install.state import opened  # noqa: PLC0415

    with opened(settings.state_dir) as state:
        if state is None:
            return
        for operation in history.load(state.directory).done:
            for change in operation.transaction.changes:
                match change.before:
                    case File(inode=inode, build_id=build_id) if inode is not None:
                        yield Record(change.path, inode.id, operation.ended, inode.birth, build_id)
