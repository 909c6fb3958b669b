"""HTTP clients that verify every byte they are sent and count exactly what went wrong."""

import http.client
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple, Self

_TOO_MANY: Final = 1000
"""Failures after which a client gives up: something is wrong beyond counting."""
_UNTIL_THEY_COME: Final = 60.0
"""Seconds that a test waits for answers: machines that run tests can be busy."""
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
class Load:
    """Clients that ask without pause until they are told to stop, or a bound is reached.

    Args:
        port: of a server on the loopback.
        pages: path → the content that must come, byte for byte.
        clients: how many connections ask at once.
        bound: seconds after which the clients stop by themselves.
        requests: how many requests a client sends at most.
        patience: seconds without a byte after which a request has failed.
        per_connection: how many requests go over one connection (0: the server ends it).
        compressed: whether gzip is asked for, and must come.
        keep: how many answers are remembered at least; 0 for all.
        pause: seconds between two requests of a client.
    """

    port: int
    pages: Mapping[str, bytes]
    clients: int = 6
    bound: float = 60.0
    requests: int = 1_000_000
    per_connection: int = 0
    patience: float = 20.0
    compressed: bool = True
    keep: int = 0
    pause: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    forgotten: int = 0
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
            thread.join(self.patience + 5)
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def more(self, count: int, wanted: Callable[[Answer], bool] = lambda _: True) -> list[Answer]:
        """Wait until `count` more answers that are `wanted` have come to requests begun from now.

        Raises:
            TimeoutError: they do not come, with what came instead.
        """
        now, deadline = time.monotonic(), time.monotonic() + _UNTIL_THEY_COME
        found: list[Answer] = []
        with self._fresh:
            seen = self.total
            while len(found) < count:
                if not self._fresh.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"only {len(found)} answers: {self}")
                fresh = self.answers[max(seen - self.forgotten, 0) :]
                seen = self.total
                found += [a for a in fresh if a.begun >= now and wanted(a)]
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
            if self._over.is_set() or time.monotonic() > deadline:
                break
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=self.patience
                )
            try:
                answer = self._one(connection, paths[asked % len(paths)])
            except (OSError, http.client.HTTPException, zlib.error, _Wrong) as error:
                # A request that fails fails for good: nothing is sent twice.
                self._count(f"{type(error).__name__}: {error}"[:200])
                connection.close()
                connection = None
                if self.failures.total() >= _TOO_MANY:
                    return
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

    def _count(self, failure: str) -> None:
        with self._fresh:
            self.failures[failure] += 1

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
