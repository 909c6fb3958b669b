"""What every command that changes files does before it plans."""

from pathlib import Path

from libswap.report.reporter import Reporter
from libswap.settings import Settings


def settings_of(state_dir: Path | None, *, wait: float | None = None) -> Settings:
    """The settings that the options speak of."""
    base = Settings() if state_dir is None else Settings(state_dir=state_dir)
    if wait is None:
        return base
    return Settings(state_dir=base.state_dir, lock_wait=wait)


def recover_first(reporter: Reporter, settings: Settings) -> None:
    """Bring an interrupted operation to its end before a new one is planned."""
    from libswap.operations import recover

    if recover.pending(settings) is None:
        return
    found = recover.carry_out(settings)
    if found.operation is not None:
        reporter.note("An earlier operation had been interrupted:")
        reporter.announce("recover", found)


def say_interrupted(reporter: Reporter, settings: Settings) -> None:
    """Before a plan that is only shown, tell what would be brought to its end first."""
    from libswap.operations import recover

    found = recover.pending(settings)
    if found is not None:
        reporter.announce("recover", found)
        reporter.note("This plan is made of what is there now, before that:")
