"""The short form of `python -m tests.soak`; LIBSWAP_SOAK_SECONDS makes it longer."""

import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from support.debian import Unavailable
from support.footprint import Footprint
from tests.soak.figures import LONG, Figures
from tests.soak.quotes import Quotes
from tests.soak.scene import run, scene

SECONDS: Final = float(os.environ.get("LIBSWAP_SOAK_SECONDS", "5"))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.root
@pytest.mark.ptrace
@pytest.mark.compiler
@pytest.mark.timeout(120 + 2 * SECONDS)
def test_servers_notice_nothing_of_all_that_is_done_to_them_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    try:
        with scene(tmp_path, SECONDS, seed=7) as stage:
            run(stage, told.append)
    except Unavailable as reason:
        pytest.skip(str(reason))
    counts = stage.figures.counts
    for done in ("live swaps of nginx", "live swaps of memcached", "patches", "deployments"):
        assert sum(number for what, number in counts.items() if done in what), counts


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        (("25 1",), "nobody says"),
        (("{right} 2", "{right} 2"), "is lost"),
        (("{right} 1", "nonsense"), "ValueError"),
    ],
)
def test_a_wrong_price_a_lost_count_and_nonsense_are_failures(
    answers: tuple[str, ...], failure: str
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection, connection.makefile("rw") as stream:
            for answer in answers:
                item = int(stream.readline())
                stream.write(answer.format(right=3 * item + 1) + "\n")
                stream.flush()

    thread = threading.Thread(target=serve)
    thread.start()
    with Quotes(listener.getsockname()[1], clients=1) as quotes:
        thread.join()
        while not quotes.failures:
            time.sleep(0.01)
    assert any(failure in said for said in quotes.failures), quotes


def test_what_grows_in_the_second_half_is_named() -> None:
    figures = Figures(seconds=LONG)
    early = Footprint(mappings=50, descriptors=9, threads=1, resident=9000, reserved=20_000)
    figures.first["one"] = figures.second["one"] = figures.first["two"] = early
    figures.second["two"] = replace(early, threads=2)
    assert figures.grown() == {"two": "threads 1 → 2"}
