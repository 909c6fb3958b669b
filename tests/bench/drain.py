"""What a call costs while its library is drained, and how long the process stands still."""

import tempfile
from pathlib import Path
from typing import Final

from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage
from tests.bench.section import Row, Section

_ROUNDS: Final = 15
LIBRARY: Final = """\
#include <stdlib.h>
struct thing { long (*method)(long); long size[VERSION]; };
static long add(long x) { return x + 3; }
struct thing *thing_new(void) {
    struct thing *t = malloc(sizeof *t);
    if (t) t->method = add;
    return t;
}
void thing_free(struct thing *t) { free(t); }
long thing_use(struct thing *t, long x) { return x + 3 + (t == NULL); }
long thing_plain(long x) { return x + 3; }
"""
HANDLES: Final = """\
format = 1
libraries = ["libthing.so"]
plain = ["thing_plain"]
[[rule]]
functions = ["thing_new"]
gives = "result"
[[rule]]
functions = ["thing_free"]
by = "arg1"
ends = true
[[rule]]
functions = ["thing_use"]
by = "arg1"
"""


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as made:
        work = Path(made)
        (work / "thing.toml").write_text(HANDLES)
        stage = Stage(Compiler(work), work / "libthing.so")
        builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
        stage.install(builds[0])
        program = stage.program("drain/timed.c", "-include", str(stage.header))
        with stage.running(program) as target:
            before = [_row(target, kind, name) for kind, name in _KINDS]
            stage.install(builds[1])
            stop = _drained(stage, target, work / "thing.toml")
            old = _row(target, "u", "uses an object of the old copy, draining")
            target.ask("n")
            new = _row(target, "u", "uses an object of the new copy, draining")
            plain = _row(target, "p", "takes no object, draining")
            pair = _row(target, "m", "makes and ends an object, draining")
    uses, without, makes = before
    about = (
        "One call of a function that adds, in a process whose library is drained: the jump at its"
        " entry, the gate, the dispatcher and the look-up. Calls wait for one another. The stop"
        f" in which the drain began took {stop * 1000:.2f} ms."
    )
    more = "malloc and free are in it; two calls, each with a frame and a change of the table."
    return (
        Section("A call that uses an object, while draining", about, (uses, old, new)),
        Section("A call without an object, while draining", "The same.", (without, plain)),
        Section("Making and ending an object, while draining", more, (makes, pair)),
    )


_KINDS: Final = (
    ("u", "uses an object"), ("p", "takes no object"), ("m", "makes and ends an object"),
)  # fmt: skip


def _row(target: Target, kind: str, name: str) -> Row:
    return Row(name, tuple(int(target.ask(kind, seconds=60)) / 1e12 for _ in range(_ROUNDS)))


def _drained(stage: Stage, target: Target, handles: Path) -> float:
    request = Request(
        stage.place, pids=(target.pid,), options=Options(), drain=DrainOptions((handles,))
    )
    outcome = swap_library(request).processes[0].outcome
    assert isinstance(outcome, DrainBegun), outcome
    return outcome.stopped_for
