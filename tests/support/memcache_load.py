"""memcached clients that verify every value they read and count exactly what went wrong."""

import hashlib
import socket
import time
from dataclasses import dataclass
from typing import Final

from support.clients import Clients

_PATIENCE: Final = 20.0
_KEYS: Final = 200


@dataclass(slots=True)
class MemcacheLoad(Clients):
    """Connections that set and get without pause, each value a function of key and count.

    Each client has keys of its own; it pauses between two such pairs.

    Args:
        port: of a memcached on the loopback.
        bound: seconds after which the clients stop by themselves.
        requests: how many pairs of set and get a client sends at most.
    """

    port: int
    bound: float = 240.0
    requests: int = 1_000_000
    answered: int = 0
    slowest: float = 0.0

    def more(self, count: int) -> None:
        """Wait until `count` more requests have been answered rightly."""
        wanted = self.answered + count
        self._await(lambda: self.answered >= wanted)

    def finish(self) -> None:
        """Wait until every client has sent all its requests."""
        for thread in self._threads:
            thread.join(self.bound + self.patience)

    def __str__(self) -> str:
        return (
            f"{self.answered} right answers, slowest {self.slowest * 1000:.1f} ms,"
            f" failures: {dict(self.failures) or 'none'}"
        )

    def _ask(self, number: int) -> None:
        deadline, dialogue = time.monotonic() + self.bound, None
        for turn in range(1, self.requests + 1):
            if self._given_up() or time.monotonic() > deadline:
                break
            key, value = f"key-{number}-{turn % _KEYS}", _value(number, turn)
            begun = time.monotonic()
            try:
                dialogue = dialogue or Dialogue(self.port)
                dialogue.set(key, value)
                dialogue.expect(key, value)
            except (OSError, ProtocolError) as error:
                self._failed(error)
                if dialogue:
                    dialogue.close()
                dialogue = None
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
