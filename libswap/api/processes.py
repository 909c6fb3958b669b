"""Change running processes: move them onto a new library, and back."""

from collections.abc import Sequence
from pathlib import Path

from libswap.api.libraries import AnyPath
from libswap.live.outlook import Options
from libswap.operations import revert as reverting
from libswap.operations import status as telling
from libswap.operations.moves import Report
from libswap.operations.revert import Report as RevertReport
from libswap.operations.status import Status
from libswap.operations.swap import Progress, Request, swap_library
from libswap.settings import Settings


def swap(
    library: AnyPath,
    *,
    new: AnyPath | None = None,
    more: Sequence[tuple[AnyPath, AnyPath | None]] = (),
    pids: Sequence[int] = (),
    options: Options | None = None,
    check: Sequence[str] = (),
    rehearse: bool = False,
    unload: bool = False,
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
    settings: Settings | None = None,
) -> Report:
    """Move running processes onto the new library, without a restart (`libswap live`).

    Args:
        library: the name that processes know; it leads to the new file, as after an install.
        new: use this file instead.
        more: further libraries, each with its file or None, moved in the same commit.
        pids: only these processes; none for all that use the library.
        options: how; seconds to wait for a safe moment, what becomes of the library's data.
        check: a command to run after each process (LIBSWAP_PID is set); where it fails, that
            process is moved back.
        rehearse: first in a copy of each process; where that fails, the process is left alone.
        unload: then unload copies that nothing can reach any more.
        dry_run: make the plans and change nothing.
        progress: is told of a process and of the step that begins for it.
        settings: where a copy of each process's record is kept.

    Returns:
        One result for each process and copy; what could not be moved says why.

    Raises:
        LibswapError: the new file is no library, or cannot be read.
    """
    request = Request(
        Path(library),
        None if new is None else Path(new),
        tuple(pids),
        options or Options(),
        dry_run,
        tuple(check),
        (settings or Settings()).state_dir,
        more=tuple((Path(a), None if b is None else Path(b)) for a, b in more),
        unload=unload,
        rehearse=rehearse,
    )
    return swap_library(request, progress)


def revert(
    pids: Sequence[int], *, swap_id: str = "", options: Options | None = None, dry_run: bool = False
) -> RevertReport:
    """Move running processes back to the library that they used before.

    Args:
        pids: the processes.
        swap_id: the swap to take back; "" for the last of each process.
        options: how.
        dry_run: make the plans and change nothing.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    return reverting.revert(pids, swap_id, options or Options(), dry_run=dry_run)


def status(pids: Sequence[int] = ()) -> Status:
    """What has been swapped in running processes, from the record that each carries.

    Args:
        pids: these processes; none for all that carry a record.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    return telling.status(pids)
