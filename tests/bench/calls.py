"""What a call costs after a swap or a patch, against the call as it was."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from libswap.operations.moves import Moved
from libswap.operations.patch_apply import apply
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted, revert
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted
from tests.bench.section import Row, Section

_ROUNDS: Final = 15
LIBRARY: Final = "long work(long x) { return x + 3; }\nint version = VERSION;\n"
FIX: Final = "long local(long x) { return x + 3; }\n"


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as made:
        work = Path(made)
        stage = Stage(Compiler(work), work / "libwork.so")
        builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
        stage.install(builds[0])
        program = stage.program("patch/timed.c", "-include", str(stage.header))
        with stage.running(program) as target:
            swapped = _swapped(stage, target, builds)
        with stage.running(program) as target:
            patched = _patched(program, target, work)
    return (swapped, patched)


def _swapped(stage: Stage, target: Target, builds: list[Path]) -> Section:
    """Both copies are loaded once; from then on only entries and slots change."""

    def there() -> None:
        stage.install(builds[1])
        stage.moved(target, force=True)

    def back() -> None:
        stage.install(builds[0])
        (outcome,) = reverted([target.pid])
        assert isinstance(outcome, Moved), outcome

    rows = _around(target, {"s": "through the program's slot", "p": "through a saved pointer"},
                   there, back, "swapped")  # fmt: skip
    about = (
        "One call of a function that adds, each waiting for the one before it. The swap rewrites"
        " the slot; a pointer that was saved before reaches the new library by a jump at the old"
        " entry."
    )
    return Section("A call after a swap", about, rows)


def _patched(program: Path, target: Target, work: Path) -> Section:
    source, patch = work / "fix.c", work / "fix.lsp"
    source.write_text(FIX)
    build(Request([source], program, patch))

    def there() -> None:
        outcome = apply(patch, Options(), pids=[target.pid]).processes[0].outcome
        assert isinstance(outcome, Applied), outcome

    def back() -> None:
        outcome = revert([target.pid], "", Options()).processes[0].outcome
        assert isinstance(outcome, Reverted), outcome

    before, after = _around(target, {"l": "a function"}, there, back, "patched")
    jumping = tuple(_figure(target, "j") for _ in range(_ROUNDS))
    about = (
        "The same, of a function of the program. `jmp` by hand is the same function on another"
        " page, behind a jump that stands in the program's source."
    )
    rows = (before, Row("the function behind a `jmp` by hand", jumping), after)
    return Section("A call of a patched function", about, rows)


def _around(
    target: Target,
    ways: dict[str, str],
    there: Callable[[], None],
    back: Callable[[], None],
    what: str,
) -> tuple[Row, ...]:
    """Each way before and after a change that is made and taken back every round."""
    figures: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for change, moment in ((there, "before"), (back, what)):
            for letter, way in ways.items():
                figures.setdefault(f"{way}, {moment}", []).append(_figure(target, letter))
            change()
    names = [f"{way}, {moment}" for way in ways.values() for moment in ("before", what)]
    return tuple(Row(name, tuple(figures[name])) for name in names)


def _figure(target: Target, letter: str) -> float:
    """Seconds of one call."""
    return int(target.ask(letter)) / 1e12
