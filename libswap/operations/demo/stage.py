"""A process that loads a library, and what is done to the file meanwhile, step by step."""

import os
import shutil
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from libswap.errors.base import ProgramFailed
from libswap.linux.child import Child
from libswap.linux.command import run
from libswap.operations.demo.result import Answer, Scene
from libswap.operations.demo.workshop import Workshop
from libswap.operations.scan import scan_machine
from libswap.process.identity import Identity
from libswap.process.maps import Mapping, maps_of
from libswap.scan.overwritten import GRANULARITY
from libswap.scan.stale import Overwritten, State
from libswap.settings import Settings

_SECONDS: Final = 20.0


class Stage:
    """A directory with a library, old.so as it was, new.so to come, and one process.

    Attributes:
        directory: where everything stands, and where commands run.
        library: the file that is replaced.
    """

    LIBRARY: Final = "lib.so"
    NEW: Final = "new.so"

    def __init__(self, directory: Path, workshop: Workshop) -> None:
        directory.mkdir()
        self.directory, self.library = directory, directory / self.LIBRARY
        shutil.copy(workshop.old, self.library)
        shutil.copy(workshop.new, directory / self.NEW)
        self._loader = str(workshop.loader)
        self._exit = ExitStack()
        self._steps: list[str] = []
        self._answers: list[Answer] = []
        self._handles: list[str] = []
        self._code = 0
        self._died_of: str | None = None

    def __enter__(self) -> Self:
        child = Child([self._loader], directory=str(self.directory), timeout=_SECONDS)
        self._child = self._exit.enter_context(child)
        self._child.hear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._exit.close()

    @property
    def pid(self) -> int:
        """The process that has loaded the library."""
        return self._child.pid

    def load(self) -> None:
        """The process opens the library with dlopen(3)."""
        said = self._ask("load", f"load {self.library}").split()
        if said[:1] == ["loaded"]:
            self._handles.append(said[1])
            self._code = int(said[2], 16)

    def call(self) -> None:
        """The process calls the library; it may die of it."""
        said = self._ask("call", "call").split()
        if said[:1] == ["answer"]:
            self._answers.append(Answer(code=int(said[1]), data=int(said[2])))

    def close(self) -> None:
        """The process gives its handle back with dlclose(3)."""
        self._ask("close", "close")
        self._handles.clear()

    def run(self, *argv: str) -> None:
        """Run a command beside the process, to its end."""
        self._steps.append(" ".join(argv))
        self._command(*argv)

    def write(self, text: str) -> None:
        """Let a shell write a line over the library; the text is a parameter, not part of code."""
        self._steps.append(f"echo {text} > {self.LIBRARY}")
        self._command("sh", "-c", 'echo "$1" > "$2"', "sh", text, self.LIBRARY)

    def let_the_clock_move_on(self) -> None:
        """Until a file that is changed from now on bears a time surely after the process's start.

        Both clocks go in steps: start times in ticks (proc(5)), file times in jiffies.
        """
        while time.time() < Identity.of(self.pid).started_at() + 2 * GRANULARITY:
            time.sleep(GRANULARITY / 4)

    def scene(self, name: str) -> Scene:
        """What has been seen until now."""
        mapping = self._mapping() if self._died_of is None else None
        return Scene(
            name=name,
            steps=tuple(self._steps),
            died_of=self._died_of,
            answers=tuple(self._answers),
            same_handle=len(set(self._handles)) == 1 if len(self._handles) > 1 else None,
            mapped=Path(os.fsdecode(mapping.name)).name if mapping else "",
            scanned=self._scanned() if mapping else "",
            mapped_is_file=mapping is not None and mapping.inode == self.library.stat().st_ino,
        )

    def _ask(self, step: str, line: str) -> str:
        self._steps.append(step)
        said = self._child.ask(line)
        if said is None:
            self._died_of = self._child.ended()
            return ""
        if said.startswith("error "):
            raise ProgramFailed(self._loader, said)
        return said

    def _command(self, *argv: str) -> None:
        done = run(argv, timeout=_SECONDS, directory=str(self.directory))
        if done.status != 0:
            raise ProgramFailed(argv[0], done.complaint)

    def _mapping(self) -> Mapping | None:
        """The mapping that the code of the library is in."""
        return next((m for m in maps_of(self.pid) if m.start <= self._code < m.end), None)

    def _scanned(self) -> str:
        """What a scan of the whole machine finds in this process: the state of its library."""
        found = scan_machine(Settings(state_dir=self.directory / "state"))
        users = chain(*(group.users for group in found.groups), found.same_build, found.undecided)
        uses = (use for u in users if u.process.identity.pid == self.pid for use in u.uses)
        return next((_named(use.state) for use in uses), "current")


def _named(state: State) -> str:
    doubt = "probably " if isinstance(state, Overwritten) and not state.certain else ""
    return doubt + type(state).__name__.lower()
