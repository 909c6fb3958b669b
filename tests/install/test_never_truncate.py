"""What the real command does to the old file, as strace sees it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.compiler import Compiler, has
from support.site import Site, library

pytestmark = [
    pytest.mark.compiler,
    pytest.mark.ptrace,
    pytest.mark.skipif(not has("strace"), reason="no strace"),
]

WRITING = re.compile(
    r"\b(write|pwrite64|writev|pwritev2?|ftruncate|fallocate|copy_file_range|sendfile|splice|"
    r"ioctl|fsetxattr|fchmod|fchown)\((.*)"
)


@pytest.mark.parametrize("strategy", ["rename", "unlink"])
def test_the_old_inode_is_never_opened_for_writing_nor_truncated(
    compiler: Compiler, site: Site, tmp_path: Path, strategy: str
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    log = tmp_path / "log"
    words = ["install", library(compiler, 2), real, "--strategy", strategy]
    libswap = [sys.executable, "-m", "libswap", *words, "--state-dir", site.settings.state_dir]
    subprocess.run(["strace", "-f", "-y", "-o", log, *libswap], check=True, capture_output=True)
    assert real.read_bytes() == library(compiler, 2).read_bytes()
    lines = log.read_text(errors="replace").splitlines()
    ours = [line for line in lines if str(site.root) in line]
    assert any(str(real) in line for line in ours)
    assert not [line for line in ours if "O_TRUNC" in line or "creat(" in line]
    assert not [line for line in ours if re.search(r"\btruncate\(", line)]
    kept = f"<{site.settings.state_dir}/store/"
    opened = [line for line in ours if any(n in line for n in (f"<{real}", f'"{real}"', kept))]
    assert not [line for line in opened if re.search(r"O_WRONLY|O_RDWR", line)]
    written = [match[2] for line in ours if (match := WRITING.search(line))]
    assert len(written) > 3
    old = (f"<{real}>", f"<{real} (deleted)>")
    struck = [text for text in written if text.split(",")[0].endswith(old)]
    assert not [text for text in struck if "FS_IOC_GETFLAGS" not in text]
