"""An upgrade as libswap does it, on a service that runs through all of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from libswap.errors.base import ProgramFailed
from libswap.install.obstacles import Allowance
from libswap.linux.child import Child
from libswap.live.outlook import Options
from libswap.operations import install, revert, rollback, swap
from libswap.operations.check import check
from libswap.operations.demo.result import Act, Reply
from libswap.operations.demo.workshop import Workshop
from libswap.operations.moves import Moved, MovedBack, ProcessResult, Refused, Skipped
from libswap.process.maps import maps_of
from libswap.settings import Settings

LIBRARY: Final = "libdemo.so.1"
NEW: Final = "new.so"
_SECONDS: Final = 20.0


class Site:
    """A directory with a service, the library beside it, and the one to come.

    Attributes:
        library: what the service is linked against.
        new: what will take its place.
        settings: with a state directory of this site.
    """

    def __init__(self, directory: Path, workshop: Workshop) -> None:
        directory.mkdir()
        self.library, self.new = directory / LIBRARY, directory / NEW
        self.settings = Settings(state_dir=directory / "state")
        self._service = directory / "service"
        shutil.copy(workshop.service, self._service)
        shutil.copy(workshop.old, self.library)
        shutil.copy(workshop.new, self.new)

    def start(self) -> AbstractContextManager[Child]:
        """A service that is ready."""
        child = Child([str(self._service)], directory=str(self._service.parent), timeout=_SECONDS)
        child.hear()
        return child

    def fresh(self) -> Reply:
        """What a service answers that is started now."""
        with self.start() as service:
            return ask(service)


def ask(service: Child) -> Reply:
    """One answer.

    Raises:
        ProgramFailed: the service has ended.
    """
    said = service.ask("ask")
    if said is None:
        raise ProgramFailed("the service of the demo", f"it was ended by {service.ended()}")
    _, code, count = said.split()
    return Reply(int(code), int(count))


def mapped(pid: int) -> tuple[str, ...]:
    """What the maps of a process say about code of the library, each name once."""
    names = (Path(os.fsdecode(m.name)).name for m in maps_of(pid) if m.executable)
    return tuple(sorted({name for name in names if name.startswith(LIBRARY)}))


def play(directory: Path, workshop: Workshop) -> Iterator[Act]:
    """Look, install, and go back, with the service asked before and after each."""
    site = Site(directory, workshop)
    with site.start() as service:
        for command, act in ACTS.items():
            before = ask(service)
            said = act(site, service.pid)
            after, fresh = ask(service), site.fresh()
            yield Act(command, said, service.pid, before, after, fresh, mapped(service.pid))


def _check(site: Site, pid: int) -> str:
    found = check(str(site.library), str(site.new), site.settings)
    used = "used by the service" if pid in (p.pid for p in found.processes) else "unused"
    return f"{found.verdict.value}, {used}"


def _install(site: Site, _: int) -> str:
    request = install.Request(sources=(str(site.new),), destination=str(site.library))
    done = install.carry_out(install.plan(request, site.settings), site.settings)
    return done.operation.outcome.value if done.operation else "nothing to do"


def _live(site: Site, pid: int) -> str:
    return _outcome(swap.swap_library(swap.Request(site.library, pids=(pid,))).processes[0])


def _revert(_: Site, pid: int) -> str:
    return _outcome(revert.revert([pid], "", Options()).processes[0])


def _outcome(result: ProcessResult) -> str:
    match result.outcome:
        case Moved(stopped_for=seconds):
            return f"moved in a stop of {seconds * 1000:.2f} ms"
        case Refused(reason=reason) | Skipped(reason=reason) | MovedBack(reason=reason):
            return f"left as it is: {reason}"
        case _:
            raise AssertionError("this was no dry run, and nothing is drained")


def _rollback(site: Site, _: int) -> str:
    plan = rollback.plan(None, site.settings, Allowance())
    return rollback.carry_out(plan, site.settings).operation.outcome.value


ACTS: Final = {
    f"libswap check {LIBRARY} {NEW}": _check,
    f"libswap install {NEW} {LIBRARY}": _install,
    f"libswap live {LIBRARY}": _live,
    "libswap revert PID": _revert,
    "libswap rollback": _rollback,
}
