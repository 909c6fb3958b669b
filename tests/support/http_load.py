"""HTTP clients that verify every byte they are sent and count exactly what went wrong."""

import http.client
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple

from support.clients import Clients

_SLACK: Final = 5.0
"""Seconds within which two threads take note of answers that came one after the other."""


class Answer(NamedTuple):
    """One response that was right in every byte.

    Attributes:
        begun: when the request was sent (time.monotonic).
        ended: when the last byte had come.
        path: what was asked for.
        mark: byte 9 of the gzip stream, which tells the build of zlib; None without gzip.
        worker: the process that answered, as its X-Worker header says; empty without one.
    """

    begun: float
    ended: float
    path: str
    mark: int | None
    worker: str


@dataclass(slots=True)
class Load(Clients):
    """Clients that ask without pause until they are told to stop, or a bound is reached.

    Args:
        port: of a server on the loopback.
        pages: path → the content that must come, byte for byte.
        bound: seconds after which the clients stop by themselves.
        requests: how many requests a client sends at most.
        per_connection: how many requests go over one connection (0: the server ends it).
        compressed: whether gzip is asked for, and must come.
        keep: how many answers are remembered at least; 0 for all.
    """

    port: int
    pages: Mapping[str, bytes]
    bound: float = 240.0
    requests: int = 1_000_000
    per_connection: int = 0
    compressed: bool = True
    keep: int = 0
    answers: list[Answer] = field(default_factory=list)
    forgotten: int = 0
    slowest: float = 0.0

    def more(self, count: int, wanted: Callable[[Answer], bool] = lambda _: True) -> list[Answer]:
        """Wait until `count` more answers that are `wanted` have come to requests begun from now.

        Raises:
            TimeoutError: they do not come, with what came instead.
        """
        now, seen = time.monotonic(), self.total
        found: list[Answer] = []

        def enough() -> bool:
            nonlocal seen
            fresh = self.answers[max(seen - self.forgotten, 0) :]
            seen = self.total
            found.extend(a for a in fresh if a.begun >= now and wanted(a))
            return len(found) >= count

        self._await(enough)
        return found

    def begun_since(self, moment: float) -> Counter[int | None]:
        """The marks of the answers to requests that were sent after `moment`."""
        latest = takewhile(lambda a: a.ended >= moment - _SLACK, reversed(self.answers))
        return Counter(a.mark for a in latest if a.begun >= moment)

    def ended_before(self, moment: float) -> Counter[int | None]:
        """The marks of the answers that were whole before `moment`."""
        return Counter(a.mark for a in self.answers if a.ended <= moment)

    @property
    def total(self) -> int:
        """How many answers were right."""
        return self.forgotten + len(self.answers)

    def finish(self) -> None:
        """Wait until every client has sent all its requests."""
        for thread in self._threads:
            thread.join(self.bound + self.patience)

    def __str__(self) -> str:
        marks = dict(Counter(a.mark for a in self.answers))
        wrong = dict(self.failures) or "none"
        return (
            f"{self.total} right answers, byte 9 {marks}, slowest"
            f" {self.slowest * 1000:.1f} ms, failures: {wrong}"
        )

    def _ask(self, number: int) -> None:
        paths = list(self.pages)
        deadline, connection = time.monotonic() + self.bound, None
        for asked in range(number, number + self.requests):
            if self._given_up() or time.monotonic() > deadline:
                break
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=self.patience
                )
            try:
                answer = self._one(connection, paths[asked % len(paths)])
            except (OSError, http.client.HTTPException, zlib.error, _Wrong) as error:
                # A request that fails fails for good: nothing is sent twice.
                self._failed(error)
                connection.close()
                connection = None
            else:
                self._note(answer)
            if self.pause:
                self._over.wait(self.pause)
            if connection and self.per_connection and (asked + 1) % self.per_connection == 0:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _note(self, answer: Answer) -> None:
        with self._fresh:
            self.answers.append(answer)
            self.slowest = max(self.slowest, answer.ended - answer.begun)
            if self.keep and len(self.answers) >= 2 * self.keep:
                del self.answers[: self.keep]
                self.forgotten += self.keep
            self._fresh.notify_all()

    def _one(self, connection: http.client.HTTPConnection, path: str) -> Answer:
        begun = time.monotonic()
        headers = {"Accept-Encoding": "gzip"} if self.compressed else {}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        ended = time.monotonic()
        if response.status != http.client.OK:
            raise _Wrong(f"status {response.status} for {path}")
        mark = None
        if self.compressed:
            if response.headers.get("Content-Encoding") != "gzip" or len(body) < 18:
                raise _Wrong(f"{path} came without gzip")
            mark, body = body[9], _gunzip(body)
        if body != self.pages[path]:
            raise _Wrong(f"{path} came with other content")
        return Answer(begun, ended, path, mark, response.headers.get("X-Worker", ""))


class _Wrong(Exception):
    """An answer that is not what was asked for."""


def _gunzip(body: bytes) -> bytes:
    """The content of one whole gzip member; its checksum and length are verified (RFC 1952)."""
    stream = zlib.decompressobj(wbits=31)
    content = stream.decompress(body) + stream.flush()
    if not stream.eof or stream.unused_data:
        raise _Wrong("a gzip stream that does not end where the response ends")
    return content
