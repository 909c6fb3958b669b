"""The ways to start: one round, a preview, or a service."""

from libswap.operations.deployments import Preview, Round
from libswap.settings import Settings
from libswap.watch import once as rounds
from libswap.watch.bell import Bell
from libswap.watch.rule import Configuration
from libswap.watch.watcher import Listener, Watcher
from libswap.watch.workplace import workplace


def once(
    configuration: Configuration, settings: Settings, listener: Listener, *, clear: bool = False
) -> Round:
    """Deploy what is finished, and end.

    Args:
        configuration: what to watch.
        settings: where the state lies.
        listener: who is told of each step.
        clear: whether failures are counted anew.
    """
    bell = Bell()
    try:
        with workplace(settings) as place:
            watcher = Watcher(configuration, settings, place, bell, listener)
            try:
                watcher.adopt(configuration)
                if clear:
                    watcher.clear_failures()
                return rounds.once(watcher)
            finally:
                watcher.close()
    finally:
        bell.close()


def preview(configuration: Configuration, settings: Settings) -> Preview:
    """What `once` would do; nothing is changed."""
    bell = Bell()
    try:
        return rounds.preview(configuration, settings, bell)
    finally:
        bell.close()
