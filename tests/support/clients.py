"""Client threads that ask a server of a test until they are told to stop."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

_TOO_MANY: Final = 1000
"""Failures after which a client gives up: something is wrong beyond counting."""
UNHURRIED: Final = 0.01
"""A pause that leaves processors to libswap: without one, load takes all that there are."""
_UNTIL_THEY_COME: Final = 60.0
"""Seconds that a test waits for answers: machines that run tests can be busy."""


@dataclass(slots=True, kw_only=True)
class Clients(ABC):
    """What clients of every protocol have in common; a class of its own says what they ask.

    Args:
        clients: how many ask at once.
        pause: seconds between two requests of a client.
        patience: seconds without a byte after which a request has failed.

    Attributes:
        failures: what went wrong, how often.
    """

    clients: int = 6
    pause: float = 0.0
    patience: float = 20.0
    failures: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)
    _fresh: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Let the clients end after the answer they wait for."""
        self._over.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(self.patience + 5)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    @abstractmethod
    def _ask(self, number: int) -> None:
        """What the client of this number does."""

    def _await(self, enough: Callable[[], bool]) -> None:
        """Wait for fresh answers until there are enough.

        Raises:
            TimeoutError: they do not come, with what came instead.
        """
        deadline = time.monotonic() + _UNTIL_THEY_COME
        with self._fresh:
            while not enough():
                if not self._fresh.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"too few answers: {self}")

    def _failed(self, error: Exception) -> None:
        with self._fresh:
            self.failures[f"{type(error).__name__}: {error}"[:200]] += 1

    def _given_up(self) -> bool:
        return self._over.is_set() or self.failures.total() >= _TOO_MANY
