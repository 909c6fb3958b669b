"""Debian's security updates of stripped libraries, whose state has no names."""

from pathlib import Path

import pytest

from libswap.live.outlook import Options
from libswap.operations.moves import Moved
from libswap.operations.swap import Request, swap_library
from support.debian import Debian, Unavailable
from support.encounter import answer, driver, install, started

pytestmark = [pytest.mark.real, pytest.mark.compiler, pytest.mark.ptrace]

LIBRARIES = {
    "pcre2": ("libpcre2-8-0", "libpcre2-8.so.0"),
    "libevent": ("libevent-2.1-7", "libevent-2.1.so.7"),
    "crypto": ("libssl3", "libcrypto.so.3"),
}


def _file(debian: Debian, package: str, suite: str, name: str) -> Path:
    try:
        tree = debian.package(package, suite)
    except Unavailable as reason:
        pytest.skip(str(reason))
    return next(p for p in sorted(tree.rglob(f"{name}*")) if not p.is_symlink())


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_security_update_reaches_a_process_with_its_state(
    debian: Debian, name: str, tmp_path: Path
) -> None:
    package, soname = LIBRARIES[name]
    old, new = (_file(debian, package, s, soname) for s in ("bookworm", "bookworm-security"))
    library = tmp_path / soname
    program = driver(name, old, library, tmp_path)
    with started(program) as target:
        assert target.line() == "ready"
        install(new, library)
        request = Request(library, pids=(target.pid,), options=Options(accept_unknown=True))
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, Moved), result.outcome
        assert result.outcome.outlook.proven.bytes > 0
        assert answer(target) == "done"
