"""End the drains of libraries in every process where its last old object has gone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.linux.rooted import Root
from libswap.linux.tracer import traced
from libswap.live.carriers import carriers
from libswap.live.exclusive import exclusively
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.recovery import finish
from libswap.live.subject import Subject
from libswap.live.unloading import unload_unused
from libswap.operations import draining
from libswap.operations.moves import Asked, ProcessResult, Report, Skipped, as_refused, process_name
from libswap.operations.survival.nameless import finder
from libswap.process.ending import while_it_lives
from libswap.process.identity import Identity, require_there


def settle(
    libraries: Sequence[Path],
    pids: Sequence[int],
    options: Options,
    *,
    unload: bool = False,
    state_dir: Path | None = None,
) -> Report:
    """Settle what can be settled, and say for the rest what is left.

    Args:
        libraries: the names that processes know.
        pids: only these processes; none for every process that carries a record.
        options: `force` settles where no old object is known to be left, though some may be.
        unload: then unload copies that nothing can reach any more.
        state_dir: where results of reading code are kept; None for nowhere.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    with Root.open("/") as here:
        cache = LibraryCache((here,), finder(state_dir))
        wanted = frozenset(str(library.resolve()) for library in libraries)
        found: list[ProcessResult] = []
        for pid in pids or list(carriers()):
            found += traced(partial(_one, pid, wanted, options, cache, unload=unload))
    return Report(tuple(Asked(str(n), "", "") for n in libraries), tuple(found), 0)


def _one(
    pid: int, wanted: frozenset[str], options: Options, cache: LibraryCache, *, unload: bool
) -> list[ProcessResult]:
    name = process_name(pid)
    try:
        identity = Identity.of(pid)
        with (
            while_it_lives(identity),
            exclusively(pid, time.monotonic() + options.wait),
            Subject.open(identity, cache) as found,
        ):
            subject = draining.finish(finish(found, options), options)
            results = list(_settled(subject, wanted, name, options))
            if results and unload:
                copies = tuple(unload_unused(subject.again(), wait=options.wait))
                results[-1] = replace(results[-1], copies=copies)
            return results
    except ProcessGone as error:
        return [ProcessResult(pid, name, min(wanted), Skipped(error.message))]
    except LibswapError as error:
        return [ProcessResult(pid, name, min(wanted), as_refused(error))]


def _settled(
    subject: Subject, wanted: frozenset[str], name: str, options: Options
) -> Iterator[ProcessResult]:
    for drain in draining.drains_of(subject):
        path = draining.library_of(subject, drain)
        if path in wanted:
            outcome = draining.settle(subject, drain, options, force=options.force)
            yield ProcessResult(subject.identity.pid, name, path, outcome)
            subject = subject.again()
