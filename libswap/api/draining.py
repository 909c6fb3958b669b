"""Move running processes onto a library that does not understand the objects of the old one."""

import os
from collections.abc import Sequence
from pathlib import Path

from libswap.api.libraries import AnyPath
from libswap.live.outlook import Options
from libswap.operations import handles
from libswap.operations import settle as settling
from libswap.operations.draining import DrainOptions
from libswap.operations.handles import Drafted, Listed, Shown
from libswap.operations.moves import Report
from libswap.operations.swap import Progress, Request, swap_library
from libswap.settings import Settings


def drain(
    library: AnyPath,
    *,
    new: AnyPath | None = None,
    pids: Sequence[int] = (),
    options: Options | None = None,
    drain_options: DrainOptions | None = None,
    check: Sequence[str] = (),
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
    settings: Settings | None = None,
) -> Report:
    """Leave objects to the code that made them; the new library makes all others from now on.

    `settle` ends it when the last old object is gone, `revert` takes it back, and `status` tells
    in `drains` what is left.

    Args:
        library: the name that processes know; it leads to the new file, as after an install.
        new: use this file instead.
        pids: only these processes; none for all that use the library.
        options: how; seconds to wait for a safe moment, what becomes of the library's data.
        drain_options: further descriptions of handles, and how long it may take.
        check: a command to run after each process (LIBSWAP_PID is set); where it fails, its drain
            is taken back.
        dry_run: make the plans and change nothing.
        progress: is told of a process and of the step that begins for it.
        settings: where a copy of each process's record is kept.

    Returns:
        One result for each process: DrainBegun, DrainPlanned, or why not.

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
        drain=drain_options or DrainOptions(),
    )
    return swap_library(request, progress)


def settle(
    library: AnyPath | Sequence[AnyPath],
    *,
    pids: Sequence[int] = (),
    options: Options | None = None,
    unload: bool = False,
) -> Report:
    """End the drains whose last object is gone; one that is taken back or overdue goes back.

    Args:
        library: the name that processes know, or several.
        pids: only these processes; none for all that carry a record.
        options: how; `force` settles where no old object is known to be left, though some may be.
        unload: then unload copies that nothing can reach any more.

    Returns:
        One result for each drain: Settled, TakenBack, or StillDraining with what is left.
    """
    named = [library] if isinstance(library, str | os.PathLike) else library
    libraries = [Path(one) for one in named]
    return settling.settle(libraries, pids, options or Options(), unload=unload)


def list_handles() -> Listed:
    """The descriptions of libraries' objects on this machine, in the order in which they are asked.

    Raises:
        LibswapError: one cannot be understood (HandlesInvalid).
    """
    return handles.listed()


def show_handles(name: str) -> Shown:
    """What a description says of each function.

    Args:
        name: a description, a SONAME, or a file that ends in .toml.

    Raises:
        LibswapError: there is none (HandlesUnknown), or it cannot be understood (HandlesInvalid).
    """
    return handles.shown(name)


def draft_handles(
    library: AnyPath, headers: Sequence[AnyPath] = (), *, cflags: Sequence[str] = ()
) -> Drafted:
    """Guess a first description of a library: `result.toml`.

    Args:
        library: its file.
        headers: what declares its functions; none to read its debug information.
        cflags: more words for the compiler that reads the headers.

    Raises:
        LibswapError: it is no library (InvalidElf), nothing tells what its functions take
            (PrototypesMissing), or the compiler refuses the headers (CompilerFailed).
    """
    return handles.drafted(Path(library), tuple(map(Path, headers)), tuple(cflags))
