"""One change of a name: keep the old, stage the new, check, apply; and the way back.

Nothing here opens an existing file for writing. Each step can be repeated after a crash.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final, assert_never

from libswap.errors.install import DestinationChanged, SourceChanged, SourceUnreadable
from libswap.install import store as kept
from libswap.install.candidate import read_candidate
from libswap.install.content import File, Link, Nothing
from libswap.install.transaction import Change, Strategy, Transaction
from libswap.linux import files
from libswap.linux.files import Directory, FileId
from libswap.linux.together import both

NEW_FILE_MODE: Final = 0o644
"""Of a library where there was none: readable by all whatever the umask, as install(1) does."""


@contextmanager
def open_directories(transaction: Transaction) -> Iterator[Mapping[str, Directory]]:
    """Hold every directory of an operation open, and make sure that each is the planned one.

    Raises:
        DestinationChanged: a path leads to another directory by now.
    """
    with ExitStack() as stack:
        found = {p: stack.enter_context(Directory(p)) for p in transaction.directories}
        for change in transaction.changes:
            if FileId.of(found[change.directory].status) != change.directory_id:
                raise DestinationChanged(change.directory)
        yield found


def keep(change: Change, directory: Directory, store: Directory) -> int | None:
    """Keep the old file in the store.

    Returns:
        The ctime that the old inode has from now on (a new link to it moves it); None where the
        old is no file.

    Raises:
        DestinationChanged: the name stands for something else than was planned with.
    """
    if not isinstance(change.before, File) or change.keep is None:
        return None
    assert change.before.inode is not None  # noqa: S101  what was there had one
    require_unchanged(change, directory, change.before.inode.ctime)
    kept.keep(directory, change.name, change.before, store, change.keep)
    status = directory.lstat(change.name)
    if status is None or FileId.of(status) != change.before.inode.id:
        raise DestinationChanged(change.path)
    return status.st_ctime_ns


def require_unchanged(change: Change, directory: Directory, ctime: int | None) -> None:
    """Make sure that a name stands for what it did when the change was planned.

    Args:
        change: the change.
        directory: its directory.
        ctime: of the old inode, where the old is a file.

    Raises:
        DestinationChanged: it does not.
    """
    status = directory.lstat(change.name)
    match change.before:
        case Nothing():
            unchanged = status is None
        case Link(text):
            is_link = status is not None and files.is_link(status)
            unchanged = is_link and directory.readlink(change.name) == text
        case File(inode=inode):
            unchanged = (
                status is not None
                and inode is not None
                and (FileId.of(status), status.st_ctime_ns) == (inode.id, ctime)
            )
        case _:
            assert_never(change.before)
    if not unchanged:
        raise DestinationChanged(change.path)


def stage(change: Change, directory: Directory, store: Directory) -> tuple[str, ...]:
    """Prepare the new under its stage name; what is staged is verified and synced.

    Returns:
        What the new file could not be given, in words.
    """
    match change.after:
        case Nothing():
            return ()
        case Link(text):
            directory.symlink(change.stage, text)
            return ()
        case File() as file:
            assert change.origin is not None  # noqa: S101  every file comes from somewhere
            if "/" in change.origin:
                return _stage_source(change.origin, file, directory, change.stage)
            return kept.bring_back(store, change.origin, file, directory, change.stage)
        case _:
            assert_never(change.after)


def apply(change: Change, strategy: Strategy, directory: Directory) -> None:
    """Make the name stand for the new; the staged file or link moves there in one step.

    With the strategy `unlink` the name is gone for the moment between two system calls.
    """
    if isinstance(change.after, Nothing):
        directory.unlink(change.name)
        return
    replaces = strategy is Strategy.RENAME and not isinstance(change.before, Nothing)
    if strategy is Strategy.UNLINK:
        directory.unlink(change.name)
    directory.rename(change.stage, change.name, replace=replaces)


def undo(change: Change, directory: Directory, store: Directory) -> None:
    """Make the name stand for the old again, whatever stands there now."""
    directory.unlink(change.stage)
    match change.before:
        case Nothing():
            directory.unlink(change.name)
            return
        case Link(text):
            directory.symlink(change.stage, text)
        case File() as file:
            assert change.keep is not None  # noqa: S101  every old file is kept
            kept.bring_back(store, change.keep, file, directory, change.stage)
        case _:
            assert_never(change.before)
    directory.rename(change.stage, change.name)


def _stage_source(path: str, file: File, directory: Directory, name: str) -> tuple[str, ...]:
    """Copy, dress, verify and sync; from here on nobody looks at the source again."""
    staged_path = directory.join(name)
    source = open_source(path)
    try:
        staged = directory.create(name)
        try:
            files.copy(source, staged, file.size, staged_path)
            lost = _dress(staged, file, staged_path)
            both(lambda: files.sync(staged, staged_path), lambda: _verify(staged, file, path))
        finally:
            os.close(staged)
    finally:
        os.close(source)
    return lost


def open_source(path: str) -> int:
    """A descriptor to read a source from; a FIFO or a device does not make us wait.

    Raises:
        SourceUnreadable: it is not there, not for us to read, or no file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise SourceUnreadable(path, error.strerror or str(error)) from error
    if not files.is_regular(os.fstat(descriptor)):
        os.close(descriptor)
        raise SourceUnreadable(path, "it is no regular file")
    return descriptor


def _dress(staged: int, file: File, path: str) -> tuple[str, ...]:
    if file.attributes is not None:
        return file.attributes.give_to(staged, path)
    with files.refusal("change the mode of", path):
        os.fchmod(staged, NEW_FILE_MODE)
    return ()


def _verify(staged: int, file: File, source: str) -> None:
    """What was copied is what was judged: the bytes, and that they are a whole library."""
    if os.fstat(staged).st_size != file.size or files.sha256(staged, source) != file.sha256:
        raise SourceChanged(source)
    found = read_candidate(staged, source)
    if (found.soname, found.build_id) != (file.soname, file.build_id):
        raise SourceChanged(source)
