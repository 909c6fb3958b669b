"""The server that is patched, and clients that verify every price it tells."""

import socket
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libswap.operations.patch_build import Request, build
from support.clients import Clients
from support.compiler import Compiler
from support.servers import Server, started

PRICES: Final = {"": (3, 1), "one": (5, 2), "two": (7, 3)}
"""What each patch makes of an item: so many times, and so much more."""
_SOURCE: Final = """
extern long served;
{before}
long price(long item) {{ return {price}; }}
long number(void) {{ return __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED); }}
"""


def quoter(compiler: Compiler, work: Path) -> AbstractContextManager[Server]:
    """fixtures/soak/quoter.c on a free port of the loopback."""
    program = program_of(compiler)
    return started(lambda port: [program, port], work / "quoter.log", work)


def program_of(compiler: Compiler) -> Path:
    """The server as a file: what patches are for."""
    return compiler.program("soak/quoter.c", "-O2", "-g", "-pthread")


def patches(compiler: Compiler, work: Path) -> dict[str, Path]:
    """A patch file for each price; the second asks the function that it replaces."""
    sources = {
        "one": _SOURCE.format(before="", price="5 * item + 2"),
        "two": _SOURCE.format(
            before="extern long libswap_original_price(long);",
            price="4 * item + 2 + libswap_original_price(item)",
        ),
    }
    made = {}
    for name, text in sources.items():
        source, made[name] = work / f"{name}.c", work / f"{name}.lsp"
        source.write_text(text)
        build(Request([source], program_of(compiler), made[name]))
    return made


@dataclass(slots=True)
class Quotes(Clients):
    """Connections that ask for prices.

    Attributes:
        port: of a quoter on the loopback.
        answered: right answers.
        latest: patch → when the newest request was sent that was answered with its price.
    """

    port: int
    answered: int = 0
    latest: dict[str, float] = field(default_factory=dict)

    def more(self, count: int) -> None:
        """Wait until `count` more requests have been answered rightly."""
        wanted = self.answered + count
        self._await(lambda: self.answered >= wanted)

    def since(self, moment: float) -> set[str]:
        """Whose prices were told to requests that were sent after `moment`."""
        with self._fresh:
            return {name for name, begun in self.latest.items() if begun >= moment}

    def __str__(self) -> str:
        return f"{self.answered} right answers, failures: {dict(self.failures) or 'none'}"

    def _ask(self, number: int) -> None:
        while not self._given_up():
            try:
                with socket.create_connection(
                    ("127.0.0.1", self.port), self.patience
                ) as connection:
                    self._converse(connection, number)
            except (OSError, ValueError, AssertionError) as error:
                self._failed(error)

    def _converse(self, connection: socket.socket, item: int) -> None:
        stream, last = connection.makefile("rw"), 0
        while not self._over.is_set():
            item = (item + 7919) % 1_000_003
            begun = time.monotonic()
            stream.write(f"{item}\n")
            stream.flush()
            price, number = map(int, stream.readline().split())
            name = _who_says(item, price)
            assert number > last, f"{number} after {last}: what the function counted is lost"
            last = number
            with self._fresh:
                self.answered += 1
                self.latest[name] = max(begun, self.latest.get(name, 0.0))
                self._fresh.notify_all()
            self._over.wait(self.pause)


def _who_says(item: int, price: int) -> str:
    for name, (times, more) in PRICES.items():
        if price == times * item + more:
            return name
    raise AssertionError(f"nobody says {price} for {item}")
