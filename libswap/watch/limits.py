"""When a rule has to wait: quiet hours, a rate, too many failures; pure, over what was done."""

from collections.abc import Iterable
from dataclasses import dataclass

from libswap.operations.deployments import Cleared, Ended, Outcome
from libswap.watch import hours
from libswap.watch.rule import Rule

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Past:
    """What counts of the deployments of one rule so far.

    Attributes:
        recent: when each of the last hour came to its end, seconds since the epoch.
        failures: how many of the last failed, one after the other.
    """

    recent: tuple[float, ...] = ()
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing may be deployed for now.

    Attributes:
        reason: in words.
        seconds: how long; None until somebody has looked after it.
    """

    reason: str
    seconds: float | None


def past_of(directory: str, ledger: Iterable[Ended | Cleared | None]) -> Past:
    """What the ledger says of a drop directory."""
    past = Past()
    for line in ledger:
        if isinstance(line, Cleared):
            past = Past(past.recent, 0)
        elif line is not None and line.deployment.directory == directory:
            past = after(past, line)
    return past


def after(past: Past, ended: Ended) -> Past:
    """One more deployment; what was rejected beforehand counts neither way."""
    if ended.outcome is Outcome.REJECTED:
        return past
    recent = tuple(t for t in (*past.recent, ended.ended) if t > ended.ended - _HOUR)
    return Past(recent, past.failures + 1 if ended.outcome is Outcome.FAILED else 0)


def hold(rule: Rule, past: Past, now: float) -> Hold | None:
    """What keeps a rule from deploying; None for nothing.

    Args:
        rule: of a drop directory.
        past: its deployments.
        now: seconds since the epoch.
    """
    if rule.limits.failures and past.failures >= rule.limits.failures:
        many = f"failed deployments one after the other: {past.failures}"
        reason = f"{many}; it is stopped until --resume, or a reload of the service"
        return Hold(reason, None)
    if hours.is_quiet(rule.quiet, now):
        return Hold("quiet hours", hours.until_end(rule.quiet, now))
    within = [t for t in past.recent if now - _HOUR < t <= now]
    if rule.limits.per_hour and len(within) >= rule.limits.per_hour:
        reason = f"{len(within)} deployments within an hour"
        return Hold(reason, within[-rule.limits.per_hour] + _HOUR - now)
    return None
