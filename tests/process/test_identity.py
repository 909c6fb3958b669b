import os
import subprocess
import time
from pathlib import Path

import pytest

from libswap.errors.process import ProcessGone
from libswap.linux.procfs import Procfs
from libswap.process.identity import Identity


def test_a_process_is_itself_for_as_long_as_it_lives() -> None:
    me = Identity.of(os.getpid())
    me.check()
    assert abs(me.started_at() - time.time()) < 24 * 3600
    assert me == Identity.of(os.getpid())


def test_a_process_that_ended_is_gone() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    identity = Identity.of(child.pid)
    child.communicate()
    with pytest.raises(ProcessGone, match=str(child.pid)):
        identity.check()
    with pytest.raises(ProcessGone):
        Identity.of(child.pid)


def test_the_same_pid_with_another_start_time_is_another_process() -> None:
    later = Identity(os.getpid(), Identity.of(os.getpid()).start_time + 1)
    with pytest.raises(ProcessGone):
        later.check()


def test_a_command_name_with_brackets_and_blanks_does_not_shift_the_fields(tmp_path: Path) -> None:
    fields = " ".join(str(n) for n in range(4, 53))
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a) R 1 (b) S {fields}\n")
    assert Identity.of(7, Procfs(str(tmp_path))) == Identity(7, 22)
