"""TLS clients that verify every byte they are sent and count exactly what went wrong."""

import hashlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from support.clients import UNHURRIED, Clients

_PATIENCE: Final = 20.0
_PROTOCOL: Final = "numbers"
_ON_BRIEF_ONES: Final = 3


Talk = Callable[[ssl.SSLSocket, int], None]
"""One request and its whole answer, by a number; raises ValueError or OSError."""


@dataclass(slots=True)
class TlsLoad(Clients):
    """Clients that ask until they are told to stop; every second speaks TLS 1.2.

    Args:
        port: of the server on the loopback.
        brief: whether each connection is for a few requests only.
        talk: what is asked; by default that of fixtures/drain/tls.c.
        farewell: whether the server answers close_notify with its own.
    """

    port: int
    clients: int = field(default=4, kw_only=True)
    pause: float = field(default=UNHURRIED, kw_only=True)
    brief: bool = False
    talk: Talk | None = None
    farewell: bool = True
    answered: Counter[int] = field(default_factory=Counter)
    connected: int = 0

    def more(self, each: int) -> None:
        """Wait until so many more requests of each client have been answered rightly.

        Raises:
            TimeoutError: they are not.
        """
        wanted = {client: self.answered[client] + each for client in range(self.clients)}
        self._await(lambda: all(self.answered[client] >= wanted[client] for client in wanted))

    def __str__(self) -> str:
        return (
            f"{self.answered.total()} right answers on {self.connected} connections,"
            f" failures: {dict(self.failures) or 'none'}"
        )

    def _ask(self, client: int) -> None:
        context = _context(ssl.TLSVersion.TLSv1_2 if client % 2 else ssl.TLSVersion.TLSv1_3)
        turn = client
        while not self._given_up():
            try:
                turn = self._one(client, context, turn)
            except (OSError, ValueError) as error:
                self._failed(error)

    def _one(self, client: int, context: ssl.SSLContext, turn: int) -> int:
        """One connection, from its handshake to its end."""
        with connected(self.port, context) as connection:
            with self._fresh:
                self.connected += 1
            asked = 0
            while not (self._over.is_set() or (self.brief and asked == _ON_BRIEF_ONES)):
                (self.talk or exchange)(connection, turn)
                turn, asked = turn + 7, asked + 1
                with self._fresh:
                    self.answered[client] += 1
                    self._fresh.notify_all()
                if self.pause:
                    self._over.wait(self.pause)
            if self.farewell:
                connection.unwrap()
        return turn


@contextmanager
def connected(port: int, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
    """One connection after its handshake."""
    with (
        socket.create_connection(("127.0.0.1", port), _PATIENCE) as plain,
        (context or _context(ssl.TLSVersion.TLSv1_3)).wrap_socket(plain) as connection,
    ):
        if connection.selected_alpn_protocol() not in (_PROTOCOL, None):
            raise ValueError("another protocol was chosen")
        yield connection


def exchange(connection: ssl.SSLSocket, number: int) -> None:
    """One request, and every byte of its answer."""
    connection.sendall(b"%d\n" % number)
    body = _received(connection, int(_received(connection, 8)))
    if body != b"".join(b"%d.%d;" % (number, n) for n in range(number % 2000 + 1)):
        raise ValueError(f"another answer to {number}")


def set_and_get(connection: ssl.SSLSocket, number: int) -> None:
    """In redis' protocol (RESP2): a value is stored, and comes back as it was."""
    value = hashlib.sha256(b"%d" % number).hexdigest() * (1 + number % 200)
    key = f"key {id(connection)} {number % 50}"
    ask(connection, b"+OK\r\n", "SET", key, value)
    ask(connection, b"$%d\r\n%s\r\n" % (len(value), value.encode()), "GET", key)


def ask(connection: ssl.SSLSocket, answer: bytes, *words: str) -> None:
    """Send a command to redis, which must answer so."""
    parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    connection.sendall(f"*{len(words)}\r\n{parts}".encode())
    got = _received(connection, len(answer))
    if got != answer:
        raise ValueError(f"{got[:80]!r} to {words[0]}")


def _received(connection: ssl.SSLSocket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        more = connection.recv(size - len(parts))
        if not more:
            raise ValueError("the connection ended in the midst of an answer")
        parts += more
    return bytes(parts)


def _context(version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    made.set_alpn_protocols([_PROTOCOL])
    return made
