"""A library in two builds, programs that use it, and swaps of them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from libswap.live.outlook import Options
from libswap.operations.moves import Moved, Outcome, Refused
from libswap.operations.patch_build import Request as PatchRequest
from libswap.operations.patch_build import build as build_patch
from libswap.operations.revert import revert
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target, running


@dataclass(frozen=True, slots=True)
class Stage:
    """A directory with a library under the name that programs know.

    Attributes:
        compiler: makes everything.
        place: the library's path.
    """

    compiler: Compiler
    place: Path

    def install(self, build: Path) -> None:
        """Give the name to another build, as an install does."""
        fresh = self.place.with_name("fresh")
        shutil.copy(build, fresh)
        fresh.rename(self.place)

    def build(
        self, source: str, *flags: str, version: int, cc: str = "cc", soname: str = ""
    ) -> Path:
        """One version of the library, from a file below fixtures or from C text."""
        return self.compiler.library(
            source, f"-DVERSION={version}", "-O2", *flags, cc=cc, name=self.place.name,
            soname=soname or self.place.name,
        )  # fmt: skip

    def program(self, source: str, *flags: str, name: str = "", cc: str = "cc") -> Path:
        """A program that is linked to the library as it is installed now."""
        return self.compiler.program(
            source, "-O2", *flags, str(self.place), f"-Wl,-rpath,{self.place.parent}", name=name,
            cc=cc,
        )  # fmt: skip

    @property
    def header(self) -> Path:
        """What programs under test have in common."""
        return FIXTURES / "live" / "ask.h"

    @contextmanager
    def running(self, program: Path, *words: str, **environment: str) -> Iterator[Target]:
        with running([program, *words], **environment) as target:
            yield target

    @contextmanager
    def ending(self, program: Path, *words: str, **environment: str) -> Iterator[Target]:
        """A program that may end by itself."""
        with running([program, *words], ends=True, **environment) as target:
            yield target

    def swap(self, target: Target | int, **options: object) -> Outcome:
        """Move one process onto what is installed now."""
        pid = target if isinstance(target, int) else target.pid
        chosen = replace(Options(), **options)  # type: ignore[arg-type]
        report = swap_library(Request(self.place, pids=(pid,), options=chosen))
        (result,) = report.processes
        return result.outcome

    def patch(self, source: str, output: Path) -> Path:
        """A patch file for the library as it is installed now."""
        file = output.with_suffix(".c")
        file.write_text(source)
        build_patch(PatchRequest([file], self.place, output))
        return output

    def moved(self, target: Target | int, **options: object) -> Moved:
        """Move it, and it must have worked."""
        outcome = self.swap(target, **options)
        assert isinstance(outcome, Moved), outcome
        return outcome

    def refused(self, target: Target | int, **options: object) -> Refused:
        """Try to move it, and it must have been refused."""
        outcome = self.swap(target, **options)
        assert isinstance(outcome, Refused), outcome
        return outcome


def reverted(pids: Sequence[int], id_: str = "", **options: object) -> list[Outcome]:
    """Take swaps back."""
    chosen = replace(Options(), **options)  # type: ignore[arg-type]
    return [p.outcome for p in revert(pids, id_, chosen).processes]


def tried(
    stage: Stage, library: str, program: str, before: int, after: int, *flags: str,
    link: Sequence[str] = (), cc: str = "cc", options: dict[str, object] | None = None,
    **environment: str,
) -> None:  # fmt: skip
    """A program gives one answer on the old library, another on the new, and the first again.

    Args:
        stage: where the library is.
        library: its source; VERSION is 1 or 2.
        program: its source; it answers each line with a number.
        before: what it answers on version 1.
        after: and on version 2.
        flags: for both builds of the library.
        link: for the program.
        cc: the compiler.
        options: for the swap and the revert.
        environment: for the program.
    """
    header = ("-include", str(stage.header))
    old, new = (stage.build(library, *flags, version=v, cc=cc) for v in (1, 2))
    stage.install(old)
    made = stage.program(program, *header, *link, cc=cc)
    with stage.running(made, **environment) as target:
        assert target.ask() == str(before)
        stage.install(new)
        stage.moved(target, **(options or {}))
        assert target.ask() == str(after)
        assert target.ask() == str(after)
        (outcome,) = reverted([target.pid], **(options or {}))
        assert isinstance(outcome, Moved), outcome
        assert target.ask() == str(before)
