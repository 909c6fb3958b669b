"""One path in two mount namespaces is two files: only processes of the replaced one are moved."""

import subprocess
from pathlib import Path

import pytest

from support.command import Libswap
from support.compiler import Compiler
from support.servers import put
from support.stopwatch import Parts, stopwatches

pytestmark = [
    pytest.mark.root,
    pytest.mark.namespaces,
    pytest.mark.ptrace,
    pytest.mark.compiler,
]
_COVER = 'mount --bind "$1" "$2" && echo ready && exec cat'


def test_a_process_whose_own_file_was_not_replaced_is_left_alone(
    compiler: Compiler, tmp_path: Path, state_dir: Path
) -> None:
    parts = Parts.made_by(compiler)
    library = put(parts.builds[0], tmp_path / "lib" / "libtick.so.1")
    put(parts.builds[1], tmp_path / "other" / library.name)
    with stopwatches(2, parts, library.parent) as [target, named]:
        words = ["unshare", "--mount", "--propagation=private", "sh", "-c", _COVER, "cover"]
        with subprocess.Popen(
            [*words, str(tmp_path / "other"), str(library.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            libswap = Libswap(state_dir, inside=holder.pid)
            looked = libswap("live", library, "--all")
            assert (target.tell("build"), named.tell("build")) == (1, 1), looked
            assert looked.code == 0, looked
            moved = libswap("live", library, f"--pid={named.pid}")
            assert (target.tell("build"), named.tell("build")) == (1, 2), moved
            holder.communicate()
