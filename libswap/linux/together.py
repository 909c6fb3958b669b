"""Work that waits for the kernel or hashes, which lets other threads run: all at once."""

import threading
from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def both(here: Callable[[], A], aside: Callable[[], B]) -> tuple[A, B]:
    """Do one thing in this thread and another in a second one, and wait for both.

    What either raises is raised when both have ended, that of `here` before that of `aside`.
    """
    made: list[B] = []
    failed: list[BaseException] = []

    def act() -> None:
        try:
            made.append(aside())
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        result = here()
    finally:
        thread.join()
    for error in failed:
        raise error
    return result, made[0]
