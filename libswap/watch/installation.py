"""The installation that a deployment comes down to, and what its plan must be like."""

from collections.abc import Sequence

from libswap.abi.verdict import Verdict
from libswap.errors.watch import DropRefused
from libswap.install import history
from libswap.install.history import Operation
from libswap.install.obstacles import Allowance
from libswap.install.state import opened
from libswap.operations import install, recover
from libswap.operations.deployments import Deployment
from libswap.settings import Settings
from libswap.watch.rule import Accept, Rule


def request(targets: Sequence[tuple[str, str]], rule: Rule) -> install.Request:
    """The installation of staged libraries, all of them or none.

    Args:
        targets: each staged library and its destination.
        rule: of their drop directory.
    """
    return install.Request(
        sources=tuple(source for source, _ in targets),
        destination=rule.to,
        destinations=tuple(target for _, target in targets),
        allowance=Allowance(force=rule.accept is Accept.ANY),
    )


def require_verified(plan: install.Plan, deployment: Deployment) -> None:
    """Make sure that what will be installed are the bytes that were verified when they were taken.

    Raises:
        DropRefused: they are not.
    """
    taken = {drop.sha256 for drop in deployment.drops}
    for change in plan.transaction.changes:
        digest = getattr(change.after, "sha256", None)
        if digest is not None and digest not in taken:
            raise DropRefused(change.path, "the staged bytes are not those that were verified")


def require_acceptable(plan: install.Plan, rule: Rule) -> None:
    """Make sure that the verdict is as good as the rule wants; what is worse, the plan refuses.

    Raises:
        DropRefused: there are warnings.
    """
    if rule.accept is not Accept.COMPATIBLE:
        return
    for comparison in plan.comparisons:
        if comparison.verdict is Verdict.WARNINGS:
            said = "; ".join(f"{f.rule} {f.subject}: {f.meaning}" for f in comparison.findings[:5])
            raise DropRefused(
                comparison.path, f"the new library is compatible with warnings: {said}"
            )


def found(operation_id: str, settings: Settings) -> Operation | None:
    """An operation, if it came to be; the history knows, once nothing is half done."""
    if recover.pending(settings) is not None:
        recover.carry_out(settings)
    with opened(settings.state_dir) as state:
        told = None if state is None else history.find(state.directory, operation_id)
    return told if told is not None and told.outcome is history.Outcome.DONE else None
