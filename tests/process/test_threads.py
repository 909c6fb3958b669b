import os
import threading

from libswap.process.threads import parse_thread, threads_of


def test_every_thread_is_listed_while_it_runs() -> None:
    done = threading.Event()
    helper = threading.Thread(target=done.wait)
    helper.start()
    try:
        found = threads_of(os.getpid())
    finally:
        done.set()
        helper.join()
    assert {os.getpid(), helper.native_id} <= {thread.tid for thread in found}
    assert all(thread.state in "RSDI" for thread in found)


def test_a_thread_may_call_itself_anything() -> None:
    fields = " ".join(str(n) for n in range(4, 53))
    thread = parse_thread(b"12 (x) S 1) R " + fields.encode())
    assert (thread.tid, thread.name, thread.state, thread.start_time) == (12, "x) S 1", "R", 22)
