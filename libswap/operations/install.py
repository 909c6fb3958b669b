"""Replace libraries, or add new ones: plan everything, say who is affected, then do it safely."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from libswap.abi.finding import Finding, Severity
from libswap.abi.verdict import Verdict
from libswap.errors.base import UsageError
from libswap.errors.install import Incompatible, SourceChanged
from libswap.install import linker_cache, notices, packages
from libswap.install import plan as planning
from libswap.install.commit import commit
from libswap.install.content import File
from libswap.install.history import Operation
from libswap.install.notices import Notice
from libswap.install.obstacles import Allowance, Asker, no_space, obstacles, source_obstacles
from libswap.install.plan import Order, Pair
from libswap.install.recover import recover_pending
from libswap.install.state import State, locked, opened
from libswap.install.survey import first_look, require_unwritten, survey, survey_source
from libswap.install.target import resolve
from libswap.install.transaction import Affected, Caller, Strategy, Transaction, new_id
from libswap.linux import mounts
from libswap.linux.files import Directory, FileId
from libswap.linux.together import both
from libswap.operations import prune
from libswap.operations.check import check
from libswap.scan.usage import Usage, users_of
from libswap.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        sources: the libraries to install.
        destination: a file, a link, a directory or a free name.
        destinations: one for each source, where they differ.
        strategy: how the new takes the place of the old.
        dereference: whether a link as destination is followed to the file.
        ldconfig: whether ldconfig may be run where it is needed.
        allowance: what the caller takes upon himself.
    """

    sources: tuple[str, ...]
    destination: str
    strategy: Strategy = Strategy.RENAME
    dereference: bool = True
    ldconfig: bool = True
    allowance: Allowance = field(default_factory=Allowance)
    destinations: tuple[str, ...] = ()

    def destination_of(self, number: int) -> str:
        """Where the source with this number goes."""
        return self.destinations[number] if self.destinations else self.destination


@dataclass(frozen=True, slots=True)
class Comparison:
    """The old library against the new one.

    Attributes:
        path: the destination.
        source: the new library.
        predecessor: the file that programs were given until now.
        verdict: whether the new can stand in.
        findings: all differences that matter, the worst first.
    """

    path: str
    source: str
    predecessor: str
    verdict: Verdict
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, and what one should know before.

    Attributes:
        transaction: the changes.
        unchanged: destinations that hold the same bytes already.
        comparisons: each old library against its successor.
        usage: who runs on the old libraries and will until it is restarted.
        notices: what else one should know.
    """

    transaction: Transaction
    unchanged: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    usage: Usage
    notices: tuple[Notice, ...]

    @property
    def is_remarkable(self) -> bool:
        """Whether a person should see it before it is done."""
        return self.needs_consent or bool(self.usage.users)

    @property
    def needs_consent(self) -> bool:
        """Whether a person should agree before it is done."""
        doubtful = any(
            c.verdict in (Verdict.WARNINGS, Verdict.INCOMPATIBLE) for c in self.comparisons
        )
        return doubtful or bool(self.notices)


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done.

    Attributes:
        plan: what had been planned.
        operation: how it ended; None where there was nothing to do.
    """

    plan: Plan
    operation: Operation | None


def plan(request: Request, settings: Settings) -> Plan:
    """Look at everything and decide; nothing is changed.

    Raises:
        LibswapError: something forbids it.
    """
    with opened(settings.state_dir) as state:
        pairs = _pairs(request, state)
    asker = Asker.current()
    for pair in pairs:
        planning.first(source_obstacles(pair.source, pair.survey, asker, request.allowance))
        planning.first(obstacles(pair.survey, asker, request.allowance))
    now = time.time()
    order = Order(new_id(now), now, Caller.current(), request.strategy)
    transaction = planning.transaction(pairs, order)
    planning.first(no_space(_space(transaction, pairs, settings.state_dir)))
    comparisons = tuple(_comparisons(pairs, settings))
    _require_compatible(pairs, comparisons, request.allowance)
    changed = {change.path for change in transaction.changes}
    unchanged = [p.survey for p in pairs if p.survey.target.path not in changed]
    usage = users_of([p.survey.predecessor for p in pairs if p.survey.predecessor is not None])
    stays = [s.before.inode for s in unchanged if isinstance(s.before, File)]
    usage = usage.without({inode.id for inode in stays if inode is not None})
    return Plan(
        replace(
            transaction,
            ldconfig=request.ldconfig and needs_ldconfig(transaction),
            affected=affected(usage),
        ),
        tuple(survey.target.path for survey in unchanged),
        comparisons,
        usage,
        _notices([p for p in pairs if p.survey.target.path in changed], asker.uid),
    )


def carry_out(decided: Plan, settings: Settings) -> Installed:
    """Do what was planned, all of it or nothing.

    Raises:
        LibswapError: something stopped it; every name stands for what it did before.
    """
    if not decided.transaction.changes:
        return Installed(decided, None)
    with locked(settings.state_dir, settings.lock_wait, "install") as state:
        recover_pending(state)
        operation = commit(decided.transaction, state)
        prune.keep_within_limits(state, settings)
    return Installed(decided, operation)


def affected(usage: Usage) -> tuple[Affected, ...]:
    """The processes of a usage, for the history."""
    return tuple(
        Affected(process.identity.pid, process.identity.start_time, process.name)
        for process in (user.process for user in usage.users)
    )


def needs_ldconfig(transaction: Transaction) -> bool:
    """Whether the dynamic linker's cache would be out of date, and is ours to renew."""
    return os.geteuid() == 0 and linker_cache.is_outdated_by(
        transaction.changes, linker_cache.covered()
    )


def _pairs(request: Request, state: State | None) -> list[Pair]:
    """Every source and its destination, the bytes of both hashed at the same time."""
    ours, others = mounts.own(), mounts.others()
    store = state.store if state is not None else None
    candidates = [first_look(path) for path in request.sources]
    pairs = []
    for number, (path, candidate) in enumerate(zip(request.sources, candidates, strict=True)):
        real, soname = os.path.realpath(path), candidate.soname
        where = request.destination_of(number)
        target = resolve(where, real, soname, dereference=request.dereference)
        there, source = both(
            partial(survey, target, store, ours, others), partial(survey_source, path)
        )
        if source.candidate != candidate:
            raise SourceChanged(path)
        pairs.append(Pair(source, there))
    return pairs


def _comparisons(pairs: Sequence[Pair], settings: Settings) -> Iterator[Comparison]:
    sources = [str(pair.source.path) for pair in pairs]
    for pair in pairs:
        if pair.survey.predecessor is not None:
            yield _compare(pair, pair.survey.predecessor, sources, settings)


def _compare(
    pair: Pair, predecessor: str, together: Sequence[str], settings: Settings
) -> Comparison:
    found = check(predecessor, str(pair.source.path), settings, together=together)
    require_unwritten(pair.source)
    return Comparison(
        pair.survey.target.path,
        str(pair.source.path),
        os.path.realpath(predecessor),
        found.verdict,
        found.findings,
    )


def _require_compatible(
    pairs: Sequence[Pair], comparisons: Sequence[Comparison], allowance: Allowance
) -> None:
    if allowance.force:
        return
    sources = {pair.survey.target.path: pair.source.path for pair in pairs}
    for comparison in comparisons:
        if not comparison.verdict.acceptable():
            worst = [f for f in comparison.findings if f.severity is Severity.INCOMPATIBLE]
            said = tuple(f"{f.rule} {f.subject}".strip() for f in worst)
            raise Incompatible(sources[comparison.path], comparison.path, said)


def _notices(pairs: Sequence[Pair], uid: int) -> tuple[Notice, ...]:
    surveys = [pair.survey for pair in pairs]
    owners = packages.owners(survey.target.path for survey in surveys if survey.old is not None)
    return tuple(notices.notices(surveys, owners, uid))


def _space(
    transaction: Transaction, pairs: Iterable[Pair], state_dir: Path
) -> list[tuple[str, int, int]]:
    """What each file system needs and has."""
    free = {p.survey.directory_id.device: p.survey.free for p in pairs}
    with Directory(os.path.realpath(_existing(state_dir))) as directory:
        store = FileId.of(directory.status)
        free.setdefault(store.device, directory.free_space())
    needed = planning.space_needed(transaction.changes, store)
    return [(path, size, free[device]) for device, (path, size) in needed.items()]


def _existing(path: Path) -> Path:
    """The nearest directory on the way to a path that is there already."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())


def sources_and_destination(words: Sequence[str], into: Path | None) -> tuple[tuple[str, ...], str]:
    """What is to be installed, and where, from the words of a command line.

    Raises:
        UsageError: the words do not say what goes where.
    """
    if "" in words:
        raise UsageError("a NEW or DEST is empty", "A variable of the shell may be unset.")
    if into is not None:
        if not into.is_dir():
            raise UsageError(f"--into {into}: there is no such directory")
        return tuple(words), str(into)
    if len(words) == 1:
        raise UsageError(
            f"where is {words[0]} to be installed?", "libswap install NEW DEST, or --into DIR."
        )
    if len(words) > 2:
        raise UsageError(
            f"{len(words)} words, but one NEW and one DEST are expected",
            "Several libraries are installed together with --into DIR.",
        )
    return (words[0],), words[1]


def strategy_of(word: str) -> Strategy:
    """The strategy that a word names.

    Raises:
        UsageError: it names none.
    """
    try:
        return Strategy(word)
    except ValueError:
        known = " or ".join(strategy.value for strategy in Strategy)
        raise UsageError(f"--strategy {word}: it can be {known}") from None
