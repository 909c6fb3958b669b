"""Libraries that belong together: moved in one commit, taken back in one, refused as one."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from libswap.live.outlook import Options
from libswap.operations.moves import Moved, MovedBack, Outcome, Refused, Skipped
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.interruption import command, interruptions, require_let_go
from support.steps import killed, kinds, of_each_kind
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

EVERY: Final = bool(os.environ.get("LIBSWAP_EVERY_STEP"))
# The upper library keeps a pointer to the lower one's object and calls it; the lower calls back.
LOWER = """
int up_name(void);
int low_table[3] = {1, 2, 3};
static int count;
int low_count(void) { return ++count; }
int low_name(void) { return VERSION * 10 + up_name(); }
#if VERSION > 1
int low_2(void) { return VERSION; }
#endif
#if VERSION > 2
int low_3(void) { return VERSION; }
#endif
"""
UPPER = """
extern int low_table[3];
int low_count(void), low_name(void), low_2(void), low_3(void);
static int *kept = low_table;
int up_name(void) { return VERSION; }
int up_keep(void) { kept = &low_table[1]; return ++*kept; }
int up_same(void) { return kept == &low_table[1] ? *kept : -1; }
int up_count(void) { return low_count(); }
int up_both(void) { return low_name(); }
#if VERSION == 3
int up_newer(void) { return low_3(); }
#elif VERSION == 2
int up_newer(void) { return low_2(); }
#else
static volatile int none;  /* a function with no room for a jump would show the old one */
int up_newer(void) { return none; }
#endif
"""
PROGRAM = """
int up_keep(void), up_same(void), up_count(void), up_both(void), up_newer(void), low_name(void);
extern int low_table[3];
int main(void) {
    ready();
    while (asked())
        answer(!strcmp(line, "keep") ? up_keep() : !strcmp(line, "same") ? up_same()
             : !strcmp(line, "count") ? up_count() : !strcmp(line, "both") ? up_both()
             : !strcmp(line, "newer") ? up_newer() : !strcmp(line, "low") ? low_name() : -2);
}
"""


def together(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("loading", situations, live=live)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two libraries, each in versions that go with one another."""

    upper: Stage
    lower: Stage

    def install(self, version: int) -> None:
        for stage, build in zip((self.lower, self.upper), self.build(version), strict=True):
            stage.install(build)

    def build(self, version: int) -> tuple[Path, Path]:
        """The lower and the upper library of a version; each version of them has its own nodes."""
        lower = self.build_lower(LOWER, version)
        return lower, self.upper.build(UPPER, str(lower), version=version)

    def build_lower(self, source: str, version: int) -> Path:
        nodes = ["LOW_1 { global: low_table; low_count; low_name; local: *; };"]
        nodes += [f"LOW_{v} {{ global: low_{v}; }} LOW_{v - 1};" for v in range(2, version + 1)]
        script = self.lower.compiler.text("\n".join(nodes), ".map")
        flags = (f"-Wl,--version-script={script}", "-Wl,-z,undefs")
        return self.lower.build(source, *flags, version=version)

    def program(self, *flags: str) -> Path:
        return self.upper.program(
            PROGRAM, "-include", str(self.upper.header), str(self.lower.place), *flags
        )

    def swap(
        self, target: Target, *, check: tuple[str, ...] = (), **chosen: object
    ) -> list[Outcome]:
        options = Options(**chosen)  # type: ignore[arg-type]
        request = Request(
            self.upper.place, pids=(target.pid,), options=options,
            more=((self.lower.place, None),), check=check,
        )  # fmt: skip
        return [p.outcome for p in swap_library(request).processes]

    def moved(self, target: Target) -> str:
        """Move both, and it must have worked in one commit; the id."""
        outcomes = self.swap(target)
        assert all(isinstance(o, Moved) for o in outcomes), outcomes
        (id_,) = {o.id for o in outcomes if isinstance(o, Moved)}
        return id_


@pytest.fixture
def pair(compiler: Compiler, tmp_path: Path) -> Pair:
    return Pair(
        Stage(compiler, tmp_path / "libupper.so"), Stage(compiler, tmp_path / "liblower.so")
    )


def _all(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


@together("libraries that belong together, moved in one commit")
@together("a new library that needs a symbol version of another new one, moved with it")
@pytest.mark.parametrize("how", ["pie", "not position-independent", "bind now"])
def test_a_library_and_what_it_needs_are_moved_together(pair: Pair, how: str) -> None:
    pair.install(1)
    flags = {"not position-independent": ("-no-pie", "-fno-pie"), "bind now": ("-Wl,-z,now",)}
    with pair.upper.running(pair.program(*flags.get(how, ()))) as target:
        assert _all(target, "keep", "same", "count", "both", "newer") == [3, 3, 1, 11, 0]
        pair.install(2)
        alone = pair.upper.refused(target)
        assert "LOW_2" in alone.reason
        pair.moved(target)
        assert _all(target, "same", "count", "both", "newer", "low") == [3, 2, 22, 2, 22]
        assert _all(target, "keep", "same") == [4, 4]
        back = reverted([target.pid])
        assert [type(o) for o in back] == [Moved, Moved]
        assert _all(target, "same", "count", "both", "newer") == [4, 3, 11, 0]
        pair.install(3)
        pair.moved(target)
        assert _all(target, "same", "count", "both", "newer") == [4, 4, 33, 3]


def test_from_version_to_version_and_one_of_them_alone(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        assert _all(target, "keep", "count", "both") == [3, 1, 11]
        for version in (2, 3):
            pair.install(version)
            pair.moved(target)
            assert _all(target, "same", "both", "newer") == [3, 11 * version, version]
        # Only the new lower library in use has what this build wants; the old one has its name.
        more = UPPER.replace("return ++*kept", "return *kept += 100")
        pair.upper.install(pair.upper.build(more, str(pair.lower.place), version=3))
        pair.upper.moved(target)
        assert _all(target, "same", "keep", "both", "newer", "count") == [3, 103, 33, 3, 2]
        assert isinstance(reverted([target.pid])[0], Moved)
        assert [type(o) for o in reverted([target.pid])] == [Moved, Moved]
        assert _all(target, "same", "both", "count") == [103, 22, 3]


def test_a_check_that_fails_takes_all_of_them_back(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        assert _all(target, "keep", "count") == [3, 1]
        pair.install(2)
        outcomes = pair.swap(target, check=("false",))
        assert [type(o) for o in outcomes] == [MovedBack, MovedBack]
        assert _all(target, "same", "count", "both", "newer") == [3, 2, 11, 0]


@together("one of several libraries cannot be moved", live="refused: none is moved")
def test_what_stands_in_the_way_of_one_stops_all(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        assert _all(target, "keep", "count") == [3, 1]
        pair.install(2)
        longer = LOWER.replace("low_table[3] = {1, 2, 3}", "low_table[4] = {1, 2, 3}")
        pair.lower.install(pair.build_lower(longer, 2))
        outcomes = pair.swap(target, force=True)
        assert [type(o) for o in outcomes] == [Refused, Refused]
        assert all("liblower.so" in o.reason for o in outcomes if isinstance(o, Refused))
        assert _all(target, "same", "count", "both", "newer") == [3, 2, 11, 0]
        pair.install(2)
        pair.moved(target)
        assert _all(target, "same", "count", "both", "newer") == [3, 3, 22, 2]


@together("libswap killed while it moves libraries that belong together")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_step_either_all_or_none_run(pair: Pair) -> None:
    pair.install(1)
    program = pair.program()
    with pair.upper.running(program) as target:
        pair.install(2)
        steps = kinds(lambda: pair.moved(target) and None)
    seen = set()
    for step in range(1, len(steps) + 1) if EVERY else of_each_kind(steps):
        pair.install(1)
        with pair.upper.running(program) as target:
            assert _all(target, "keep", "count") == [3, 1]
            pair.install(2)
            killed(lambda target=target: pair.moved(target) and None, step)  # type: ignore[misc]
            same, count, both, newer = _all(target, "same", "count", "both", "newer")
            assert (same, count) == (3, 2), step
            assert (both, newer) in ((11, 0), (22, 2)), step
            seen.add(both)
            outcomes = pair.swap(target)
            assert {type(o) for o in outcomes} in ({Moved}, {Skipped}), (step, outcomes)
            assert _all(target, "same", "count", "both", "newer") == [3, 3, 22, 2], step
    assert seen == {11, 22}


@together("libswap interrupted by Ctrl-C while it moves libraries that belong together")
@pytest.mark.timeout(600)
def test_interrupted_either_all_or_none_run(pair: Pair) -> None:
    pair.install(1)
    with pair.upper.running(pair.program()) as target:
        assert _all(target, "keep", "count", "both") == [3, 1, 11]
        pair.install(2)
        state = ("--state-dir", pair.upper.place.with_name("state"))
        both = ("live", pair.upper.place, pair.lower.place, "--pid", target.pid, *state)
        back = ("revert", target.pid, *state)
        stride = 1 if EVERY else 53
        for step in interruptions(partial(command, *both), stride=stride):
            _either_then(pair, target, 2, step)
            assert [type(o) for o in reverted([target.pid])] == [Moved, Moved], step
            assert _all(target, "same", "both", "newer") == [3, 11, 0], step
        for step in interruptions(partial(command, *back), stride=stride):
            _either_then(pair, target, 2, step)


def _either_then(pair: Pair, target: Target, version: int, step: int) -> None:
    """Both libraries are of one version, and the next run moves both where they are not yet."""
    require_let_go(target.pid)
    assert _all(target, "same", "both", "newer") in ([3, 11, 0], [3, 22, 2]), step
    assert all(isinstance(o, Moved | Skipped) for o in pair.swap(target)), step
    assert _all(target, "same", "both", "newer") == [3, 11 * version, version], step
