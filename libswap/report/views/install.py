"""The plan of an installation, and what became of it."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from libswap.abi.finding import Finding, Severity
from libswap.install.content import File
from libswap.operations.install import Comparison, Installed, Plan
from libswap.report.text import printable
from libswap.report.views import changes
from libswap.report.views.changes import usage
from libswap.scan.services import shell_line

_MOST = 10


def render(result: Plan | Installed) -> Iterable[RenderableType]:
    """A plan in full; of what was done only how it ended where the plan has been shown."""
    match result:
        case Plan():
            yield from _plan(result)
        case Installed(plan=plan, operation=None):
            yield from _unchanged(plan)
        case Installed(plan=plan, operation=operation) if operation is not None:
            if not plan.is_remarkable:
                yield from changes.changes(operation.transaction.changes)
            yield from changes.ending(operation)
            yield Text(f"Take it back with: libswap rollback {operation.transaction.id}", "dim")


def _plan(plan: Plan) -> Iterator[RenderableType]:
    yield from _unchanged(plan)
    if plan.transaction.changes:
        yield Text("These names will change, all of them or none:")
        yield from changes.changes(plan.transaction.changes)
    for comparison in plan.comparisons:
        yield from _comparison(comparison)
    yield from usage(plan.usage)
    if plan.usage.users:
        changed = [c.path for c in plan.transaction.changes if isinstance(c.after, File)]
        line = shell_line(["libswap", "live", *(changed or plan.unchanged)[:1]])
        yield Text(f"  or afterwards, without a restart: {printable(line)}", "dim")
    yield from changes.notices(plan.notices)
    if plan.transaction.ldconfig:
        yield Text("  ldconfig will be run.", "dim")


def _unchanged(plan: Plan) -> Iterator[RenderableType]:
    for path in plan.unchanged:
        yield Text(f"{printable(path)} holds these bytes already: nothing to do.")


def _comparison(comparison: Comparison) -> Iterator[RenderableType]:
    worth = [f for f in comparison.findings if f.severity is not Severity.NOTE]
    if worth:
        yield Text(f"  {printable(comparison.path)}: {comparison.verdict.value}")
    for finding in worth[:_MOST]:
        yield Text.assemble(("  ! ", "yellow"), _finding(finding))
    if len(worth) > _MOST:
        yield Text(f"    and {len(worth) - _MOST} more; libswap check shows all", "dim")


def _finding(finding: Finding) -> str:
    values = f" ({finding.old or '-'} → {finding.new or '-'})" if finding.old or finding.new else ""
    return printable(f"{finding.rule} {finding.subject}{values}: {finding.meaning}")
