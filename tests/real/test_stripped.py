"""Debian's security updates of stripped libraries, whose state has no names."""

from pathlib import Path

import pytest

from libswap.live.outlook import Options
from libswap.operations.moves import Moved, Planned
from libswap.operations.swap import Request, swap_library
from support.debian import Debian, Unavailable
from support.encounter import answer, driver, install, started

pytestmark = [pytest.mark.real, pytest.mark.compiler, pytest.mark.ptrace]


def _file(debian: Debian, package: str, suite: str, name: str) -> Path:
    try:
        tree = debian.package(package, suite)
    except Unavailable as reason:
        pytest.skip(str(reason))
    return next(p for p in sorted(tree.rglob(f"{name}*")) if not p.is_symlink())


def test_a_security_update_reaches_a_process_with_its_state(debian: Debian, tmp_path: Path) -> None:
    soname = "liblzma.so.5"
    old, new = (
        _file(debian, "liblzma5", s, soname) for s in ("bookworm", "bookworm-security")
    )  # fmt: skip
    library = tmp_path / soname
    with started(driver("lzma", old, library, tmp_path)) as target:
        assert target.line() == "ready"
        install(new, library)
        request = Request(library, pids=(target.pid,), options=Options(accept_unknown=True))
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, Moved), result.outcome
        assert result.outcome.outlook.proven.bytes > 0
        assert answer(target) == "done"


def test_all_state_of_a_library_without_symbols_is_recognised(
    debian: Debian, tmp_path: Path
) -> None:
    package, soname = "libevent-2.1-7", "libevent-2.1.so.7"
    old, new = (_file(debian, package, s, soname) for s in ("bookworm", "bookworm-security"))
    library = tmp_path / soname
    with started(driver("libevent", old, library, tmp_path)) as target:
        assert target.line() == "ready"
        install(new, library)
        (result,) = swap_library(Request(library, pids=(target.pid,), dry_run=True)).processes
        assert isinstance(result.outcome, Planned)
        assert result.outcome.outlook.proven.stretches > 30
        words = {f.word for f in result.outcome.outlook.findings}
        assert not words & {"state-without-names", "state-of-old-code"}
