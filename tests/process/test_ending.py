"""What goes wrong with a process that has ended means that, and nothing else does."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.procfs import PROC
from libswap.process.ending import is_ending, while_it_lives
from libswap.process.identity import Identity


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("collected", [True, False], ids=["gone", "a zombie"])
def test_a_file_that_went_with_its_process(
    sleeper: "subprocess.Popen[bytes]", *, collected: bool
) -> None:
    identity = Identity.of(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    if collected:
        sleeper.wait()
    assert is_ending(identity)
    for error in (FileNotFoundError("maps"), ProcessLookupError("pagemap")):
        with pytest.raises(ProcessGone), while_it_lives(identity):
            raise error
    with pytest.raises(ProcessGone), while_it_lives(identity):
        raise ProcessUnreadable(sleeper.pid, "a moment ago")


def test_what_is_wrong_with_a_living_process_is_said(sleeper: "subprocess.Popen[bytes]") -> None:
    identity = Identity.of(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    with pytest.raises(FileNotFoundError), while_it_lives(identity):
        PROC.read(sleeper.pid, "no such file")
    with pytest.raises(ProcessUnreadable), while_it_lives(identity):
        raise ProcessUnreadable(sleeper.pid, "not allowed")
