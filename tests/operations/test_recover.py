from collections.abc import Callable
from dataclasses import replace

import pytest

from libswap.errors.install import JournalDamaged, RecoveryStuck
from libswap.install import commit, journal
from libswap.install.history import Outcome
from libswap.install.replace import apply, open_directories
from libswap.install.state import locked
from libswap.install.transaction import Strategy, Transaction
from libswap.operations import history, install, recover
from support.compiler import Compiler
from support.site import Site, library

pytestmark = pytest.mark.compiler

Names = Callable[[], tuple[int, int]]


@pytest.fixture
def plan(compiler: Compiler, site: Site) -> install.Plan:
    """Two libraries, to be replaced together."""
    sources = []
    for name in ("liba.so", "libb.so"):
        site.place(library(compiler, 1, soname=""), name)
        source = site.root / name
        source.write_bytes(library(compiler, 2, soname="").read_bytes())
        sources.append(source)
    return site.plan(*sources)


def interrupt(site: Site, made: Transaction, *, committed: bool, applied: int) -> None:
    """Do the first steps of an operation, as if it had been killed then."""
    with (
        locked(site.settings.state_dir, 0, "install") as state,
        open_directories(made) as directories,
    ):
        journal.begin(state.directory, made)
        commit._prepare(made, state, directories)
        if committed:
            journal.mark(state.directory, journal.Commit(made.id))
        for change in made.changes[:applied]:
            apply(change, made.strategy, directories[change.directory])


@pytest.fixture
def versions(compiler: Compiler, site: Site) -> Names:
    """What version each of the two libraries is."""
    both = {library(compiler, v, soname="").read_bytes(): v for v in (1, 2)}

    def read() -> tuple[int, int]:
        a, b = ((site.lib / name).read_bytes() for name in ("liba.so", "libb.so"))
        return both.get(a, 0), both.get(b, 0)

    return read


@pytest.mark.parametrize(
    ("committed", "applied", "end"), [(False, 0, 1), (True, 0, 2), (True, 1, 2), (True, 2, 2)]
)
def test_what_was_committed_is_finished_and_the_rest_undone(
    site: Site, plan: install.Plan, versions: Names, applied: int, end: int, *, committed: bool
) -> None:
    interrupt(site, plan.transaction, committed=committed, applied=applied)
    done = recover.carry_out(site.settings).operation
    assert done is not None
    assert done.recovered
    assert done.outcome is (Outcome.DONE if end == 2 else Outcome.UNDONE)
    assert versions() == (end, end)
    assert site.names() == ["liba.so", "libb.so"]
    assert recover.carry_out(site.settings).operation is None
    assert len(history.tell(site.settings).operations) == 1


def test_a_lost_stage_turns_recovery_back_to_the_very_inodes(
    site: Site, plan: install.Plan, versions: Names
) -> None:
    inode = (site.lib / "liba.so").stat().st_ino
    interrupt(site, plan.transaction, committed=True, applied=1)
    (site.lib / plan.transaction.changes[1].stage).unlink()
    assert versions() == (2, 1)
    recover.carry_out(site.settings)
    assert versions() == (1, 1)
    assert (site.lib / "liba.so").stat().st_ino == inode


def test_what_somebody_else_put_there_meanwhile_is_left_alone_and_said(
    site: Site, plan: install.Plan
) -> None:
    interrupt(site, plan.transaction, committed=True, applied=1)
    other = site.root / "other"
    other.write_bytes(b"a package's own")
    other.rename(site.lib / "liba.so")
    done = recover.carry_out(site.settings).operation
    assert done is not None
    assert (site.lib / "liba.so").read_bytes() == b"a package's own"
    assert "liba.so was replaced by something else" in done.remarks[0]


def test_without_stage_and_kept_file_nothing_is_touched(
    site: Site, plan: install.Plan, versions: Names
) -> None:
    interrupt(site, plan.transaction, committed=True, applied=1)
    (site.lib / plan.transaction.changes[1].stage).unlink()
    for path in (site.settings.state_dir / "store").iterdir():
        path.unlink()
    with pytest.raises(RecoveryStuck, match=r"liba\.so"):
        recover.carry_out(site.settings)
    assert versions() == (2, 1)
    assert recover.discard(site.settings).discarded is not None
    assert recover.carry_out(site.settings).operation is None


def test_a_damaged_journal_stops_every_change_until_it_is_discarded(
    compiler: Compiler, site: Site, plan: install.Plan
) -> None:
    interrupt(site, plan.transaction, committed=True, applied=1)
    path = site.settings.state_dir / "journal"
    path.write_bytes(path.read_bytes().replace(b"install", b"INSTALL"))
    with pytest.raises(JournalDamaged, match="its first line is damaged"):
        site.install(library(compiler, 3, soname=""), to=site.lib / "libb.so")
    with pytest.raises(JournalDamaged):
        recover.carry_out(site.settings)
    recover.discard(site.settings)
    site.install(library(compiler, 3, soname=""), to=site.lib / "libb.so")


@pytest.mark.parametrize("applied", [0, 1])
def test_a_name_that_is_gone_between_the_two_steps_of_unlink_comes_back(
    site: Site, plan: install.Plan, versions: Names, applied: int
) -> None:
    made = replace(plan.transaction, strategy=Strategy.UNLINK)
    interrupt(site, made, committed=True, applied=applied)
    (site.lib / made.changes[1].name).unlink()
    recover.carry_out(site.settings)
    assert versions() == (2, 2)
