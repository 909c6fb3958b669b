"""memcached clients that verify every value they read and count exactly what went wrong."""

import hashlib
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Self

_PATIENCE: Final = 20.0
_TOO_MANY: Final = 1000
_KEYS: Final = 200


@dataclass(slots=True)
class MemcacheLoad:
    """Connections that set and get without pause, each value a function of key and count.

    Args:
        port: of a memcached on the loopback.
        clients: how many connections ask at once; each has keys of its own.
        bound: seconds after which the clients stop by themselves.
        requests: how many pairs of set and get a client sends at most.
        pause: seconds between two such pairs.
    """

    port: int
    clients: int = 10
    bound: float = 60.0
    requests: int = 1_000_000
    pause: float = 0.0
    answered: int = 0
    slowest: float = 0.0
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
            thread.join(_PATIENCE + 5)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def more(self, count: int) -> None:
        """Wait until `count` more requests have been answered rightly.

        Raises:
            TimeoutError: they are not.
        """
        wanted, deadline = self.answered + count, time.monotonic() + 3 * _PATIENCE
        with self._fresh:
            while self.answered < wanted:
                if not self._fresh.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"no more answers: {self}")

    def finish(self) -> None:
        """Wait until every client has sent all its requests."""
        for thread in self._threads:
            thread.join(self.bound + _PATIENCE)

    def __str__(self) -> str:
        return (
            f"{self.answered} right answers, slowest {self.slowest * 1000:.1f} ms,"
            f" failures: {dict(self.failures) or 'none'}"
        )

    def _ask(self, number: int) -> None:
        deadline, dialogue = time.monotonic() + self.bound, None
        for turn in range(1, self.requests + 1):
            if self._over.is_set() or time.monotonic() > deadline:
                break
            key, value = f"key-{number}-{turn % _KEYS}", _value(number, turn)
            begun = time.monotonic()
            try:
                dialogue = dialogue or Dialogue(self.port)
                dialogue.set(key, value)
                dialogue.expect(key, value)
            except (OSError, ProtocolError) as error:
                with self._fresh:
                    self.failures[f"{type(error).__name__}: {error}"[:200]] += 1
                if dialogue:
                    dialogue.close()
                dialogue = None
                if self.failures.total() >= _TOO_MANY:
                    return
            else:
                with self._fresh:
                    self.answered += 2
                    self.slowest = max(self.slowest, time.monotonic() - begun)
                    self._fresh.notify_all()
            if self.pause:
                self._over.wait(self.pause)
        if dialogue:
            dialogue.close()


class ProtocolError(Exception):
    """An answer that memcached's protocol.txt does not allow here."""


class Dialogue:
    """One connection that speaks memcached's text protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._file = self._socket.makefile("rwb")

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def set(self, key: str, value: bytes) -> None:
        """Store a value."""
        self._send(f"set {key} 0 0 {len(value)}\r\n".encode() + value + b"\r\n")
        self._expect(b"STORED")

    def get(self, key: str) -> bytes:
        """The value of a key that was stored."""
        self._send(f"get {key}\r\n".encode())
        words = self._line().split()
        if words[:2] != [b"VALUE", key.encode()] or len(words) != 4:
            raise ProtocolError(f"{words!r} instead of a value")
        value = self._file.read(int(words[3]))
        self._expect(b"")
        self._expect(b"END")
        return value

    def expect(self, key: str, value: bytes) -> None:
        """Get a key and insist on its value."""
        if self.get(key) != value:
            raise ProtocolError(f"{key} came with another value")

    def stats(self) -> dict[str, str]:
        """What `stats` tells; `libevent` is the version that event_get_version() gives."""
        self._send(b"stats\r\n")
        told = {}
        while (line := self._line()) != b"END":
            _, name, value = line.decode().split(" ", 2)
            told[name] = value
        return told

    def _send(self, request: bytes) -> None:
        self._file.write(request)
        self._file.flush()

    def _line(self) -> bytes:
        line = self._file.readline(65536)
        if not line.endswith(b"\r\n"):
            raise ProtocolError("the connection ended within a line")
        return line[:-2]

    def _expect(self, wanted: bytes) -> None:
        if (line := self._line()) != wanted:
            raise ProtocolError(f"{line!r} instead of {wanted!r}")


def _value(number: int, turn: int) -> bytes:
    """Between 1 and 16,000 bytes that depend on the client and its turn."""
    seed = hashlib.sha256(f"{number} {turn}".encode()).hexdigest().encode()
    return (seed * 250)[: 1 + turn * 7919 % 16000]


def told_by(port: int, name: str) -> str:
    """One statistic of the memcached at `port`, over a connection of its own."""
    dialogue = Dialogue(port)
    try:
        return dialogue.stats()[name]
    finally:
        dialogue.close()
