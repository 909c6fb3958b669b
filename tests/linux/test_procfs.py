"""What proc(5) says, from a tree of our own."""

from pathlib import Path

import pytest

from libswap.linux.procfs import Procfs
from libswap.live import thread


def test_the_leader_comes_first_though_ids_have_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is looked at through its first thread, which must not end before it."""
    for tid in (31540, 31551, 1397):
        task = tmp_path / "31540" / "task" / str(tid)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{tid} (x) S 1 ")
    procfs = Procfs(str(tmp_path))
    assert procfs.tids(31540) == (31540, 1397, 31551)
    monkeypatch.setattr(thread, "PROC", procfs)
    assert thread.live_threads(31540) == [31540, 1397, 31551]


@pytest.mark.parametrize(
    ("options", "hidden"),
    [(("rw",), False), (("rw,hidepid=2",), True), (("rw", "rw,hidepid=invisible"), True),
     (("rw,hidepid=2", "rw,hidepid=off"), False)],
)  # fmt: skip
def test_the_proc_mounted_last_says_whether_processes_are_hidden(
    tmp_path: Path, options: tuple[str, ...], *, hidden: bool
) -> None:
    (tmp_path / "self").mkdir()
    lines = [f"{n} 1 0:5 / {tmp_path} rw - proc proc {text}\n" for n, text in enumerate(options)]
    (tmp_path / "self/mountinfo").write_text("".join(lines))
    assert Procfs(str(tmp_path)).hides_others() is hidden
