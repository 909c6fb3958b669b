"""Whether two processes have one memory."""

import os

from libswap.linux.address_space import shares_memory


def test_a_process_shares_its_memory_with_itself_alone() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not shares_memory(os.getpid(), child)
    os.waitpid(child, 0)
    assert not shares_memory(os.getpid(), os.getppid())
    assert shares_memory(os.getpid(), os.getpid())
