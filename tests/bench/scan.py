"""How long it takes to look at every process, against C and against its peers."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

from libswap.scan.scanner import scan
from libswap.scan.usage import users_of
from tests.bench.section import Section, program, side_by_side

FIXTURES = Path(__file__).parents[2] / "fixtures" / "scan"
LIBSWAP = str(Path(sys.executable).with_name("libswap"))
SIZES = (100, 1000, 1200, 4000)
WITH_PEERS = (100, 1000, 4000)
LOADED = (
    "m", "z", "crypto", "ssl", "stdc++", "expat", "bz2", "lzma", "zstd", "ffi", "uuid", "blkid",
)  # fmt: skip
PEERS = {
    "lsof -nP": "lsof",
    "lsof -nP -d DEL": "lsof",
    "checkrestart": "debian-goodies",
    "needrestart -b -l -r l": "needrestart",
}
"""Command line, and the package that it comes from."""


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as work:
        crowd, reader = (_compiled(Path(work), name) for name in ("crowd", "reader"))
        return tuple(part for size in SIZES for part in _sections(size, crowd, reader))


def _sections(size: int, crowd: Path, reader: Path) -> Iterator[Section]:
    rounds = 15 if size <= 1000 else 7
    with _running([str(crowd), str(size), *filter(None, map(find_library, LOADED))]) as held:
        mappings = len(Path(f"/proc/{held.pid}/maps").read_text().splitlines())
        load = f"{size} processes of {mappings} mappings each, and those that were there before"
        with _running([str(reader)], ready=False) as c:
            acts = {
                "C: read every maps file": _asked(c),
                "`scan()`, the whole machine": scan,
                "`users_of()`, a library that few map": lambda: users_of(["libpython3.so"]),
            }
            yield Section(f"Looking, {size} processes", f"{load}; no interpreter start.",
                          side_by_side(acts, rounds=rounds))  # fmt: skip
        if size not in WITH_PEERS:
            return
        peers = {f"`{line}`": _peer(line) for line in PEERS if shutil.which(line.split()[0])}
        acts = {"`libswap scan`": program([LIBSWAP, "scan"]), **peers}
        missing = [package for line, package in PEERS.items() if f"`{line}`" not in peers]
        about = f"{load}; wall time of the whole command."
        about += f" Not installed here: {', '.join(missing)}." if missing else ""
        yield Section(f"Commands, {size} processes", about, side_by_side(acts, rounds=7))


def _peer(line: str) -> Callable[[], None]:
    """Runs to its end; lsof says by 0 or 1 whether it found something."""

    def act() -> None:
        done = subprocess.run(
            line.split(), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode in (0, 1), f"{line}: {done.returncode}\n{done.stderr.decode()}"

    return act


def _compiled(work: Path, name: str) -> Path:
    made = work / name
    subprocess.run(["cc", "-O2", "-o", made, FIXTURES / f"{name}.c", "-ldl"], check=True)
    return made


@contextmanager
def _running(words: list[str], *, ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert not ready or process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate()


def _asked(reader: subprocess.Popen[str]) -> Callable[[], None]:
    """One line in, one line out."""

    def act() -> None:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert int(reader.stdout.readline()) > 0

    return act
