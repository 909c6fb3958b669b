"""The real libraries that servers are moved between: which version, from where, and its mark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.debian import Debian, version_of

UNIX: Final = 3
"""OS_CODE of Debian's builds, which zlib writes into byte 9 of every gzip header (RFC 1952)."""


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one library.

    Attributes:
        path: the shared library.
        version: as Debian names it.
        mark: what a client sees of it: byte 9 of gzip responses, or the version in `stats`.
    """

    path: Path
    version: str
    mark: int | str

    def __str__(self) -> str:
        return f"{self.path.name} {self.version} ({self.mark})"


def zlib_package(debian: Debian, suite: str) -> Build:
    """zlib as Debian built it for a suite: stripped, answers with byte 9 = 3."""
    tree = debian.package("zlib1g", suite)
    [path] = (p for p in tree.rglob("libz.so.1.*") if not p.is_symlink())
    return Build(path, version_of(tree), UNIX)


def zlib_built(debian: Debian, suite: str, mark: int) -> Build:
    """zlib of a suite built here with .symtab and an OS_CODE of our own."""
    source = debian.source("zlib", suite)
    tree = debian.built(
        f"zlib-{suite}-{mark}",
        source,
        [
            ["env", f"CFLAGS=-O2 -g -DOS_CODE={mark}", "sh", "./configure"],
            ["make", "-j2", "all"],
        ],
    )
    [path] = (p for p in (tree / "tree").glob("libz.so.1.*") if not p.is_symlink())
    return Build(path, version_of(tree), mark)


def zlib_reshaped(debian: Debian, suite: str, mark: int) -> Build:
    """zlib whose streams another build does not understand: their states have grown."""
    grown = "z_streamp strm;      /* pointer back to this zlib stream */"
    inner = "z_streamp strm;             /* pointer back to this zlib stream */"
    tree = debian.built(
        f"zlib-{suite}-reshaped-{mark}",
        debian.source("zlib", suite),
        [
            (Path("deflate.h"), grown, f"{grown}\n    unsigned long grown[5];"),
            (Path("inflate.h"), inner, f"{inner}\n    unsigned long grown[5];"),
            ["env", f"CFLAGS=-O2 -g -DOS_CODE={mark}", "sh", "./configure"],
            ["make", "-j2", "all"],
        ],
    )
    [path] = (p for p in (tree / "tree").glob("libz.so.1.*") if not p.is_symlink())
    return Build(path, version_of(tree), mark)


def expat_package(debian: Debian, suite: str) -> Build:
    """Expat as Debian built it for a suite: stripped."""
    tree = debian.package("libexpat1", suite)
    [path] = (p for p in tree.rglob("libexpat.so.1.*") if not p.is_symlink())
    return Build(path, version_of(tree), version_of(tree))


def package(debian: Debian, name: str, suite: str, file: str) -> Build:
    """A library of a package as Debian built it for a suite."""
    tree = debian.package(name, suite)
    path = next(p for p in sorted(tree.rglob(file)) if not p.is_symlink())
    return Build(path, version_of(tree), version_of(tree))


def libevent_built(debian: Debian, suite: str, mark: str) -> Build:
    """libevent of a suite built here with .symtab; `mark` ends the version that it tells."""
    source = debian.source("libevent", suite)
    config = Path("include/event2/event-config.h")
    told = version_of(source)
    configure = [
        *("sh", "./configure", "--disable-openssl", "--disable-samples", "--disable-static"),
        *("--disable-libevent-regress", "--disable-dependency-tracking", "CFLAGS=-O2 -g"),
    ]
    tree = debian.built(
        f"libevent-{suite}-{mark}",
        source,
        [
            configure,
            ["make", "-j2", str(config)],
            (config, f'"{told}"', f'"{told}-{mark}"'),
            ["make", "-j2", "libevent.la"],
        ],
    )
    [path] = (p for p in (tree / "tree" / ".libs").glob("libevent-*.so.*") if not p.is_symlink())
    return Build(path, told, f"{told}-{mark}")
