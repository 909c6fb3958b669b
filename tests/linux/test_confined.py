"""A hostile program in the place of one that reads strangers' files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.linux import command, confined
from libswap.operations.check import check
from libswap.operations.check.result import SymbolLevelOnly
from libswap.settings import Settings
from support.compiler import Compiler

HOSTILE = """
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words) {
    char proof[4096];
    snprintf(proof, sizeof proof, "%s/proof", words[1]);
    printf("uid %d %d, gid %d %d, groups %d\\n", getuid(), geteuid(), getgid(), getegid(),
           getgroups(0, NULL));
    printf("environment %d\\n", environ[0] != NULL);
    printf("new privileges %d\\n", !prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("back to root %d\\n", geteuid() != 0 && setuid(0) == 0);
    printf("secret %d\\n", open("/etc/shadow", O_RDONLY) >= 0);
    printf("gigabytes %d\\n", malloc(5L << 30) != NULL);
    fflush(stdout);
    int child = fork();
    if (child == 0) _exit(0);
    printf("fork %d\\n", child > 0);
    int file = open(proof, O_CREAT | O_WRONLY, 0600);
    printf("file %d\\n", file >= 0);
    fflush(stdout);
    if (file >= 0 && write(file, "x", 1) == 1) puts("written");
    return 0;
}
"""


@pytest.fixture
def program(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands where abidiff is looked for, open to all as the system's directories are."""
    with tempfile.TemporaryDirectory() as open_to_all:
        place = Path(open_to_all)
        place.chmod(0o777)
        shutil.copy(compiler.program(HOSTILE), place / "abidiff")
        (place / "abidiff").chmod(0o755)
        monkeypatch.setattr(command, "SEARCH_PATH", open_to_all)
        yield place / "abidiff"


@pytest.mark.compiler
@pytest.mark.root
def test_it_has_no_rights_no_environment_and_no_room(program: Path) -> None:
    done = confined.run(["abidiff", str(program.parent)], timeout=20)
    assert done.text.splitlines() == [
        "uid 65534 65534, gid 65534 65534, groups 0",
        *(f"{what} 0" for what in (
            "environment", "new privileges", "back to root", "secret", "gigabytes", "fork",
        )),
        "file 1",
    ]  # fmt: skip
    assert (program.parent / "proof").read_bytes() == b""
    assert done.status < 0, "SIGXFSZ"


@pytest.mark.compiler
def test_one_that_never_ends_leaves_the_symbols_compared(compiler: Compiler, program: Path) -> None:
    program.unlink()
    shutil.copy(compiler.program("int main(void) { for (;;); }\n"), program)
    library = str(compiler.library("struct s { int a; } x;\nint f(void) { return x.a; }\n", "-g"))
    other = str(compiler.library("struct s { long a; } x;\nint f(void) { return 1; }\n", "-g"))
    found = check(library, other, Settings(abidiff_time=0.2))
    assert isinstance(found.types, SymbolLevelOnly)
    assert "0.2 seconds" in found.types.reason


@pytest.mark.root
def test_what_only_root_reaches_is_not_readable_for_it(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("")
    tmp_path.chmod(0o700)
    assert not confined.may_read(file)
    assert confined.may_read(Path(os.path.realpath("/bin/sh")))
