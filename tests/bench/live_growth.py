"""How the time of a whole `libswap live` grows: processes, slots, modules, threads, frames."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Final

from support.command import Libswap
from support.compiler import Compiler
from support.servers import put
from support.stopwatch import Parts, stopwatches
from tests.bench.section import Row, Section

ROUNDS: Final = 3
_MANY_SLOTS: Final = 10_000
ABOUT: Final = "Wall time of the whole command, interpreter start included; every target moved."


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as made:
        growth = _Growth(Path(made))
        return (
            growth.processes((1, 10, 100, 1000)),
            growth.slots((10, 100, 1_000, 10_000, 100_000)),
            growth.modules((1, 10, 100, 300)),
            growth.threads((1, 8, 64, 512)),
            growth.frames((1, 100, 10_000, 30_000)),
        )


class _Growth:
    def __init__(self, work: Path) -> None:
        self._work = work
        self._compiler = Compiler(work)
        self._parts = Parts.made_by(self._compiler)
        self._libswap = Libswap(work / "state", patience=600)

    def processes(self, counts: Sequence[int]) -> Section:
        rows = []
        for count in counts:
            with (
                self._library(f"processes-{count}") as library,
                stopwatches(count, self._parts, library.parent) as targets,
            ):
                rows.append(Row(f"{count:,}", tuple(self._times(library, self._parts.builds))))
                assert {target.tell("build") for target in targets} == {1 + ROUNDS % 2}
        return Section("Processes in one run", ABOUT, tuple(rows))

    def threads(self, counts: Sequence[int]) -> Section:
        rows = [self._row(f"{n:,}", self._parts.builds, threads=n) for n in counts]
        return Section("Threads of the target, asleep", ABOUT, tuple(rows))

    def frames(self, counts: Sequence[int]) -> Section:
        rows = [self._row(f"{n:,}", self._parts.builds, frames=n) for n in counts]
        return Section("Frames on the stack of the target", ABOUT, tuple(rows))

    def modules(self, counts: Sequence[int]) -> Section:
        copies = [self._work / "modules" / f"module-{n}.so" for n in range(max(counts))]
        copies[0].parent.mkdir()
        for copy in copies:
            shutil.copy(self._parts.module, copy)
        rows = [self._row(f"{n:,}", self._parts.builds, modules=copies[:n]) for n in counts]
        return Section("Modules that use the library", ABOUT, tuple(rows))

    def slots(self, counts: Sequence[int]) -> Section:
        rows = []
        for count in counts:
            builds, user = self._many(count)
            name = f"libmany{count}.so"
            with self._library(f"slots-{count}", builds[0], name) as library:
                put(self._parts.builds[0], library.with_name("libtick.so.1"))
                with stopwatches(1, self._parts, library.parent, modules=[user]):
                    rounds = ROUNDS if count <= _MANY_SLOTS else 1
                    times = self._times(library, builds, "--accept-unknown", rounds=rounds)
                    rows.append(Row(f"{count:,}", tuple(times)))
        about = (
            f"{ABOUT} Each slot is a pointer to another function of the library, and each of these"
            " gets a gate. The first round compares the machine code of both files, for 20 s at"
            " most; the others find that result."
        )
        return Section("Slots", about, tuple(rows))

    def _many(self, count: int) -> tuple[tuple[Path, Path], Path]:
        """Two builds of a library with `count` functions, and a module with a slot for each."""
        name = f"libmany{count}.so"
        first, second = (
            self._compiler.library(_functions(count, factor), name=name, soname=name)
            for factor in (3, 5)
        )
        declared = "\n".join(f"int many_{i}(void);" for i in range(count))
        table = ",".join(f"many_{i}" for i in range(count))
        user = self._compiler.library(
            f"{declared}\nint (*table[])(void) = {{{table}}};\n",
            *("-O1", "-g0", f"-L{first.parent}", f"-l:{name}"),
            name=f"libuser{count}.so",
        )
        return (first, second), user

    def _row(
        self,
        name: str,
        builds: tuple[Path, Path],
        *,
        threads: int = 1,
        frames: int = 0,
        modules: Sequence[Path] = (),
    ) -> Row:
        with (
            self._library(f"{threads}-{frames}-{len(modules)}") as library,
            stopwatches(
                1, self._parts, library.parent, threads=threads, frames=frames, modules=modules
            ) as [target],
        ):
            times = tuple(self._times(library, builds))
            assert target.tell("build") == 1 + ROUNDS % 2
        return Row(name, times)

    @contextmanager
    def _library(
        self, directory: str, build: Path | None = None, name: str = "libtick.so.1"
    ) -> Iterator[Path]:
        place = self._work / directory / name
        yield put(build or self._parts.builds[0], place)
        place.unlink()

    def _times(
        self, library: Path, builds: tuple[Path, Path], *words: str, rounds: int = ROUNDS
    ) -> Iterator[float]:
        """Seconds of each of some runs that move all who use `library`, to and fro."""
        for _, new in zip(range(rounds), cycle((builds[1], builds[0])), strict=False):
            put(new, library)
            begun = time.perf_counter()
            moved = self._libswap("live", library, "--all", *words)
            yield time.perf_counter() - begun
            assert moved.code == 0, moved


def _functions(count: int, factor: int) -> str:
    """C text of `count` exported functions; in assembler, for a compiler takes a minute."""
    lines = (
        f'".globl many_{i}\\n.type many_{i}, @function\\n'
        f"many_{i}: movl ${i * factor}, %eax\\nret\\n"
        f'.size many_{i}, . - many_{i}\\n.p2align 4\\n"\n'
        for i in range(count)
    )
    return f'__asm__(".text\\n"\n{"".join(lines)});\n'
