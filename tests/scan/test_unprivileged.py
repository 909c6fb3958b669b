"""What an ordinary user sees: its own processes, and how many others it may not look at."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libswap.scan.scanner import Scan, scan
from libswap.scan.stale import Deleted, Replaced
from libswap.scan.usage import users_of
from support.compiler import Compiler
from support.holders import COUNTER, hold, holder

pytestmark = [pytest.mark.compiler, pytest.mark.root]

NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that everybody may look into."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _as_nobody(act: Callable[[], object]) -> object:
    """What `act` returns in a child without privileges, by way of JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(act()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(text)


def _told(found: Scan, pid: int) -> list[str]:
    users = [u for group in found.groups for u in group.users if u.process.identity.pid == pid]
    return [type(use.state).__name__ for user in users for use in user.uses]


def test_a_users_own_process_is_judged_and_roots_is_named_as_not_looked_at(
    compiler: Compiler, shared: Path
) -> None:
    program = Path(shutil.copy(holder(compiler), shared / "holder"))
    build = compiler.library(COUNTER, "-Wl,--build-id=0xcc01")
    newer = compiler.library(COUNTER, "-Wl,--build-id=0xcc02")
    replaced = Path(shutil.copy(build, shared / "replaced.so"))
    deleted = Path(shutil.copy(build, shared / "deleted.so"))
    current = Path(shutil.copy(build, shared / "current.so"))
    words = ["dlopen", replaced, "dlopen", deleted, "dlopen", current]
    with hold(program, *words) as roots, hold(program, *words, user=NOBODY) as own:
        Path(shutil.copy(newer, shared / ".new")).rename(replaced)
        deleted.unlink()

        def look() -> object:
            found = scan()
            users = users_of([current]).users
            return [
                sorted(_told(found, own.pid)),
                [u.pid for u in found.uninspected if u.reason and u.pid in (roots.pid, own.pid)],
                [u.process.identity.pid for u in users],
            ]

        told, uninspected, users = _as_nobody(look)
    assert told == [Deleted.__name__, Replaced.__name__]
    assert uninspected == [roots.pid]
    assert users == [own.pid]
