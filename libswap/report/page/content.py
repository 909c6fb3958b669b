"""Each result as the page that shows it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from libswap.abi.verdict import Verdict
from libswap.errors.base import LibswapError
from libswap.errors.fleet import NotReady
from libswap.live.outlook import Outlook
from libswap.operations.check.result import Check, SymbolLevelOnly
from libswap.operations.draining import (
    DrainBegun,
    DrainPlanned,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.fleet import Left, Rollouts
from libswap.operations.fleet import Plan as FleetPlan
from libswap.operations.install import Installed, Plan
from libswap.operations.install_live import LiveInstalled, LivePlan
from libswap.operations.moves import (
    Moved,
    MovedBack,
    Outcome,
    Planned,
    ProcessResult,
    Refused,
    Report,
    Skipped,
    StillMoved,
)
from libswap.report import draining, words
from libswap.report.page import findings, fleet
from libswap.report.page.affected import Fate, blocks, libraries
from libswap.report.page.model import Mark, Page, Stop, Tone
from libswap.report.text import printable
from libswap.report.views import changes
from libswap.scan.owner import Process
from libswap.scan.scanner import Scan
from libswap.scan.stale import Overwritten
from libswap.scan.usage import Usage
from libswap.scan.use import User

_VERDICTS = {
    Verdict.IDENTICAL: ("Both are the same build: there is nothing to do.", Tone.GOOD),
    Verdict.COMPATIBLE: ("The new library can stand in for the old one.", Tone.GOOD),
    Verdict.WARNINGS: ("The new library can stand in, with warnings.", Tone.WARN),
    Verdict.INCOMPATIBLE: ("The new library cannot stand in for the old one.", Tone.BAD),
}


def page_of(result: object, users: Sequence[User] = ()) -> Page:
    """The page for a result.

    Args:
        result: of an operation.
        users: who used the libraries before, where the result does not say.
    """
    match result:
        case Scan():
            return _scan(result)
        case Usage():
            return _usage(result)
        case Check():
            return _check(result, users)
        case Report():
            return _live(result, users)
        case Plan():
            return _plan(result)
        case Installed():
            return _installed(result)
        case LivePlan():
            page = _plan(result.plan)
            return _with_moves(page, result.processes, result.plan.usage.users)
        case LiveInstalled():
            return _live_installed(result)
        case FleetPlan() | Rollouts() | Left():
            return fleet.page_of(result)
    raise AssertionError(f"no page for {type(result).__name__}")


def page_of_error(error: LibswapError) -> Page:
    """The page for what stopped the work."""
    if isinstance(error, NotReady):
        return fleet.not_ready(error)
    notes = (printable(error.hint),) if error.hint else ()
    return Page("Stopped", printable(error.message), Tone.BAD, notes=notes)


def page_of_interruption() -> Page:
    """The page for a person who stopped the work (Ctrl-C)."""
    return Page("Stopped", "It was interrupted before its end.", Tone.BAD)


def _scan(found: Scan) -> Page:
    stale = [user for group in found.groups for user in group.users]
    fates = [*_uses(stale, Mark.NEW), *_uses(found.moved, Mark.NEW, Mark.NEW)]
    text = f"{words.count(len(stale))} of {found.processes} must be restarted."
    if not stale:
        text = f"None of {words.count(found.processes)} runs a replaced library."
    notes = [f"{words.count(len(found.uninspected))} could not be looked at."]
    notes += ["Other users' processes are hidden (hidepid)."] if found.others_hidden else []
    return Page(
        "Who runs replaced libraries",
        text,
        Tone.WARN if stale else Tone.GOOD,
        facts=(("Processes looked at", str(found.processes)), ("Services", str(len(found.groups)))),
        libraries=libraries(fates),
        captions=("Now", "After a restart of these services"),
        blocks=blocks(fates, _known([*stale, *found.moved]), restart=True),
        notes=tuple(notes[not found.uninspected :]),
    )


def _usage(found: Usage) -> Page:
    fates = list(_uses(found.users, Mark.NEW, stale_only=False))
    return Page(
        "Who uses these libraries",
        f"In use by {words.count(len(found.users))} of {found.processes}.",
        Tone.WARN if any(fate.tone is not Tone.PLAIN for fate in fates) else Tone.PLAIN,
        facts=tuple(("Asked for", printable(wanted.path)) for wanted in found.files),
        libraries=libraries(fates),
        captions=("Now", "After a restart"),
        blocks=blocks(fates, _known(found.users), restart=True),
        notes=tuple(f"{printable(path)}: no process maps it." for path in found.unused),
    )


def _check(found: Check, users: Sequence[User]) -> Page:
    felt = {importer.pid for finding in found.findings for importer in finding.importers}
    fates = [
        Fate(
            one.pid, one.name, printable(found.old.path), Mark.OLD,
            Mark.BROKEN if one.pid in felt else Mark.NEW,
            "feels a difference: see the findings" if one.pid in felt else "",
            Tone.BAD if one.pid in felt else Tone.PLAIN,
        )
        for one in found.processes
    ]  # fmt: skip
    types = "compared by abidiff"
    if isinstance(found.types, SymbolLevelOnly):
        types = f"not compared: {printable(found.types.reason)}"
    said, tone = _VERDICTS[found.verdict]
    return Page(
        "May one library stand in for another",
        said,
        tone,
        facts=(
            ("Old", f"{printable(found.old.path)}{_build(found.old.build_id)}"),
            ("New", f"{printable(found.new.path)}{_build(found.new.build_id)}"),
            ("Types and layouts", types),
        ),
        libraries=libraries(fates),
        captions=("Now", "With the new library"),
        blocks=blocks(fates, _known(users), restart=False),
        severities=findings.of_comparison(found.findings),
        notes=_missed(len(found.uninspected)),
    )


def _live(found: Report, users: Sequence[User]) -> Page:
    page = Page(
        "Processes moved onto a library",
        f"No process uses an older {', '.join(printable(one.library) for one in found.libraries)}.",
        Tone.GOOD,
        facts=tuple(
            (printable(one.library), f"{printable(one.new)}{_build(one.build_id)}")
            for one in found.libraries
        ),
        notes=_missed(found.uninspected),
    )
    return _with_moves(page, found.processes, users)


def _plan(plan: Plan) -> Page:
    doubt = plan.needs_consent
    found = [finding for comparison in plan.comparisons for finding in comparison.findings]
    fates = list(_uses(plan.usage.users, Mark.OLD, Mark.OLD, stale_only=False))
    fates = [replace(fate, said="", tone=Tone.PLAIN) for fate in fates]
    return Page(
        "Plan of an installation",
        "Nothing was changed. " + ("A person should look first." if doubt else "Nothing is amiss."),
        Tone.WARN if doubt else Tone.GOOD,
        facts=tuple(
            (printable(c.path), f"{changes.content(c.before)} → {changes.content(c.after)}")
            for c in plan.transaction.changes
        ),
        libraries=libraries(fates),
        captions=("Now", "Until they are restarted or moved"),
        blocks=blocks(fates, _known(plan.usage.users), restart=True),
        severities=findings.of_comparison(found),
        notes=(
            *(f"{printable(path)} holds these bytes already." for path in plan.unchanged),
            *(printable(f"{n.path} {n.text} {n.advice}".strip()) for n in plan.notices),
            *_missed(len(plan.usage.uninspected)),
        ),
    )


def _installed(found: Installed) -> Page:
    page = replace(_plan(found.plan), title="Installation")
    if found.operation is None:
        return replace(page, verdict="There was nothing to do.", tone=Tone.GOOD)
    done = found.operation.outcome.value == "done"
    identifier = found.operation.transaction.id
    return replace(
        page,
        verdict="Installed." if done else "Undone: everything is as it was.",
        tone=Tone.GOOD if done else Tone.BAD,
        facts=(("Operation", identifier), *page.facts),
        notes=(
            *(printable(remark) for remark in found.operation.remarks),
            f"Take it back with: libswap rollback {identifier}",
            *page.notes,
        ),
    )


def _live_installed(found: LiveInstalled) -> Page:
    page = _with_moves(
        _installed(found.installed), tuple(_at_last(found)), found.plan.plan.usage.users
    )
    if not found.failure:
        return page
    back = "The files were rolled back."
    if found.rolled_back is None:
        back = f"The files could not be rolled back: {printable(found.trouble)}."
    return replace(
        page,
        verdict=f"Taken back: {printable(found.failure)}",
        tone=Tone.BAD,
        notes=(back, *page.notes),
    )


def _at_last(found: LiveInstalled) -> Iterator[ProcessResult]:
    """What became of each process in the end, those included that were moved back for another."""
    back = {one.pid for one in found.taken_back if isinstance(one.outcome, Moved)}
    for one in found.processes:
        if one.pid in back and isinstance(one.outcome, Moved | StillMoved):
            yield replace(one, outcome=MovedBack(one.outcome.id, found.failure))
        else:
            yield one


def _with_moves(page: Page, results: Sequence[ProcessResult], users: Sequence[User]) -> Page:
    """A page with what became of processes; what was said of them before is said no more."""
    if not results:
        return page
    fates = [_fate(result) for result in results]
    stuck = sum(fate.after is Mark.STUCK for fate in fates)
    moved = sum(fate.after in (Mark.NEW, Mark.BOTH) for fate in fates)
    planned = any(isinstance(result.outcome, Planned) for result in results)
    said = f"{words.count(moved)} {'can be moved' if planned else 'moved'}"
    said += f", {stuck} {'cannot' if planned else 'left with the old library'}" if stuck else ""
    return replace(
        page,
        verdict=f"{page.verdict} {said}." if page.captions else f"{said}.",
        tone=Tone.WARN if stuck else page.tone,
        libraries=libraries(fates),
        captions=("Before", "After the move"),
        blocks=blocks(fates, _known(users), restart=bool(stuck) and not planned),
        severities=(*page.severities, *findings.of_processes(results)),
        stops=tuple(_stops(results)),
    )


def _fate(result: ProcessResult) -> Fate:
    after, said, tone = _outcome(result.outcome)
    before = after if isinstance(result.outcome, Skipped) else Mark.OLD
    return Fate(result.pid, result.name, printable(result.library), before, after, said, tone)


def _planned(outlook: Outlook) -> tuple[Mark, str, Tone]:
    if stoppers := outlook.stoppers(force=False):
        words_ = ", ".join(sorted({one.word for one in stoppers}))
        return Mark.STUCK, f"cannot be moved: {printable(words_)}", Tone.BAD
    return Mark.NEW, "can be moved", Tone.GOOD


def _outcome(outcome: Outcome) -> tuple[Mark, str, Tone]:
    match outcome:
        case Moved(stopped_for=seconds):
            return Mark.NEW, f"moved, stood still for {seconds * 1000:.2f} ms", Tone.GOOD
        case Skipped(reason=reason):
            return Mark.CURRENT, f"nothing to do: {printable(reason)}", Tone.PLAIN
        case Refused(reason=reason, instead=instead):
            return Mark.STUCK, printable(f"left as it is: {reason} {instead}".strip()), Tone.BAD
        case MovedBack(reason=reason):
            return Mark.STUCK, f"moved back: {printable(reason)}", Tone.WARN
        case StillMoved(reason=reason, trouble=trouble):
            said = f"moved, and could not be moved back though {reason}: {trouble}"
            return Mark.NEW, printable(said), Tone.BAD
        case Planned(outlook=outlook):
            return _planned(outlook)
        case DrainPlanned() | DrainBegun() | StillDraining():
            return Mark.BOTH, _drain(outcome), Tone.WARN
        case Settled():
            return Mark.NEW, _drain(outcome), Tone.GOOD
        case TakenBack():
            return Mark.STUCK, _drain(outcome), Tone.WARN
        case _:
            assert_never(outcome)


def _drain(
    outcome: DrainPlanned | DrainBegun | StillDraining | Settled | TakenBack,
) -> str:
    return " ".join(draining.outcome(outcome).plain.split())


def _stops(results: Sequence[ProcessResult]) -> Iterator[Stop]:
    moved = [(r, r.outcome) for r in results if isinstance(r.outcome, Moved | DrainBegun)]
    longest = max((outcome.stopped_for for _, outcome in moved), default=0.0) or 1.0
    for result, outcome in moved:
        threads = f"{outcome.threads} thread{'' if outcome.threads == 1 else 's'}"
        yield Stop(
            f"{printable(result.name)} (PID {result.pid})",
            outcome.stopped_for * 1000,
            100 * outcome.stopped_for / longest,
            f"{threads}, attempt {outcome.attempts}",
        )


def _uses(
    users: Iterable[User], after: Mark, before: Mark = Mark.OLD, *, stale_only: bool = True
) -> Iterator[Fate]:
    for user in users:
        for use in user.uses:
            if not (use.stale or not stale_only or before is Mark.NEW):
                continue
            broken = isinstance(use.state, Overwritten)
            tone = Tone.BAD if broken else Tone.WARN if use.stale else Tone.PLAIN
            current = not use.stale and before is Mark.OLD and after is Mark.NEW
            yield Fate(
                user.process.identity.pid, user.process.name, printable(use.path),
                Mark.CURRENT if current else before, Mark.CURRENT if current else after,
                words.state(use.state), tone,
            )  # fmt: skip


def _known(users: Iterable[User]) -> dict[int, Process]:
    return {user.process.identity.pid: user.process for user in users}


def _missed(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"{words.count(count)} could not be looked at and may use it too.",)


def _build(build_id: str | None) -> str:
    return f", build {printable(build_id[:16])}" if build_id else ", no build id"
