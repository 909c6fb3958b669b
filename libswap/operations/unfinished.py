"""Finish, in running processes, what a libswap that was killed has left there."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.linux.tracer import traced
from libswap.live.carriers import carriers
from libswap.live.exclusive import exclusively
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.recovery import bring_to_an_end
from libswap.live.subject import Subject
from libswap.operations import draining
from libswap.operations.moves import process_name
from libswap.operations.status import ProcessStatus, Status, found_in
from libswap.operations.survival.nameless import finder
from libswap.process.identity import Identity, require_there


def finish(
    pids: Sequence[int] = (), options: Options | None = None, state_dir: Path | None = None
) -> Status:
    """Finish or take back what was broken off, lead calls past gates, end drains that are over.

    Args:
        pids: these processes; none for every process that carries a record.
        options: how; seconds to wait for a safe moment.
        state_dir: where results of reading code are kept; None for nowhere.

    Returns:
        What each carries then, and why where it could not be done.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    cache = LibraryCache(finder=finder(state_dir))
    one = partial(_one, cache=cache, options=options or Options())
    found = [each for pid in pids or tuple(carriers()) for each in traced(partial(one, pid))]
    return Status(tuple(found))


def _one(pid: int, *, cache: LibraryCache, options: Options) -> list[ProcessStatus]:
    try:
        with (
            exclusively(pid, time.monotonic() + options.wait),
            Subject.open(Identity.of(pid), cache) as subject,
        ):
            done = draining.finish(bring_to_an_end(subject, options), options)
            return [found_in(draining.settle_quietly(done, options))]
    except ProcessGone:
        return []  # it ended meanwhile, and what was left in it
    except LibswapError as error:
        trouble = error.message
        return [ProcessStatus(pid, process_name(pid), (), (), unfinished=False, trouble=trouble)]
