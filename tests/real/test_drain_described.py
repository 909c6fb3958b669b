"""Objects in the midst of their work, drained by the descriptions that libswap comes with.

The programs are those of tests/bench/survival.py: what they hold does not survive a plain swap.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from libswap.operations.draining import DrainBegun, Settled, StillDraining
from libswap.operations.moves import Refused
from support.builds import package
from support.crossing import End, Scene, loaded
from support.debian import Debian, Unavailable
from support.encounter import answer, driver, install, started
from support.versions import loadable

pytestmark = [pytest.mark.real, pytest.mark.compiler, pytest.mark.ptrace]

HELD = "point into the old copy"
UNTOLD = "does not tell how objects are found"
TRACELESS = "leave no trace"


@dataclass(frozen=True, slots=True)
class Case:
    """One library in two builds.

    Attributes:
        soname: of both.
        package: that has it.
        old, new: suites.
        doubt: why more objects may be left than were seen, before they have been used.
        risk: what must be forced.
        file: how its name begins, if not by the soname.
        renamed: what the newer suite calls the package, if it calls it otherwise.
    """

    soname: str
    package: str
    old: str
    new: str
    doubt: str = HELD
    risk: str = ""
    renamed: str = ""
    file: str = ""

    @property
    def builds(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (self.package, self.old), (self.renamed or self.package, self.new)


CASES = {
    "brotli_encoder": Case("libbrotlienc.so.1", "libbrotli1", "bookworm", "trixie"),
    "brotli_decoder": Case("libbrotlidec.so.1", "libbrotli1", "bullseye", "bookworm", UNTOLD),
    "zstd": Case("libzstd.so.1", "libzstd1", "bookworm", "trixie", UNTOLD),
    "pcre2": Case("libpcre2-8.so.0", "libpcre2-8-0", "bookworm", "trixie"),
    "event_loop": Case(
        "libevent-2.1.so.7", "libevent-2.1-7", "bookworm", "bookworm-security", TRACELESS
    ),
    "libevent": Case(
        "libevent-2.1.so.7", "libevent-2.1-7", "bullseye", "bookworm-security", TRACELESS
    ),
    "sqlite3": Case(
        "libsqlite3.so.0", "libsqlite3-0", "bullseye", "bullseye-security", risk="drain-risk"
    ),
    "png": Case("libpng16.so.16", "libpng16-16", "bookworm", "trixie", renamed="libpng16-16t64"),
    "nghttp2": Case("libnghttp2.so.14", "libnghttp2-14", "bookworm", "trixie", TRACELESS),
    "opus_surround": Case("libopus.so.0", "libopus0", "bookworm", "trixie"),
    "opus": Case("libopus.so.0", "libopus0", "bookworm", "trixie", TRACELESS),
    "nghttp2_options": Case("libnghttp2.so.14", "libnghttp2-14", "bookworm", "trixie", TRACELESS),
    "lcms2": Case("liblcms2.so.2", "liblcms2-2", "bookworm", "trixie", TRACELESS),
    "gcrypt_handles": Case(
        "libgcrypt.so.20", "libgcrypt20", "bullseye", "bookworm", risk="drain-data"
    ),
    "onig": Case("libonig.so.5", "libonig5", "bookworm", "trixie"),
    "yajl": Case("libyajl.so.2", "libyajl2", "bookworm", "trixie", UNTOLD),
    "deflate": Case("libdeflate.so.0", "libdeflate0", "bookworm", "trixie", UNTOLD),
    "pcap": Case("libpcap.so.0.8", "libpcap0.8", "bullseye", "bookworm", file="libpcap.so."),
    "archive_reader": Case("libarchive.so.13", "libarchive13", "bullseye", "bullseye-security"),
    "tasn1": Case("libtasn1.so.6", "libtasn1-6", "bullseye", "bookworm", UNTOLD),
    "popt": Case("libpopt.so.0", "libpopt0", "bullseye", "bookworm", UNTOLD),
    "xxhash": Case("libxxhash.so.0", "libxxhash0", "bullseye", "bookworm", UNTOLD),
    "json_c_reader": Case("libjson-c.so.5", "libjson-c5", "bullseye", "bookworm", TRACELESS),
    "seccomp_apart": Case("libseccomp.so.2", "libseccomp2", "bullseye", "bookworm", TRACELESS),
    "jpeg_apart": Case("libjpeg.so.62", "libjpeg62-turbo", "bullseye", "bookworm"),
    "openjp2": Case(
        "libopenjp2.so.7", "libopenjp2-7", "bullseye", "bookworm", risk="drain-risk",
        file="libopenjp2.so.",
    ),
    "freetype": Case("libfreetype.so.6", "libfreetype6", "bullseye-security", "bookworm-security"),
    "htp": Case("libhtp.so.2", "libhtp2", "bullseye", "bookworm"),
    "microhttpd": Case(
        "libmicrohttpd.so.12", "libmicrohttpd12", "bullseye", "bookworm", UNTOLD, risk="drain-risk"
    ),
    "openjp2_apart": Case(
        "libopenjp2.so.7", "libopenjp2-7", "bullseye", "bookworm", risk="drain-risk",
        file="libopenjp2.so.",
    ),
}  # fmt: skip
VALUES = {
    "fribidi": Case("libfribidi.so.0", "libfribidi0", "bookworm", "trixie"),
    "mpfr": Case("libmpfr.so.6", "libmpfr6", "bookworm", "trixie"),
}


def builds(case: Case, debian: Debian) -> tuple[Path, Path]:
    try:
        old, new = (package(debian, *b, f"{case.file or case.soname}*").path for b in case.builds)
    except Unavailable as reason:
        pytest.skip(str(reason))
    if not (loadable(old) and loadable(new)):
        pytest.skip(f"{case.soname} of another Debian cannot be loaded here")
    return old, new


@contextmanager
def scene(name: str, case: Case, debian: Debian, work: Path) -> Iterator[Scene]:
    library = work / case.soname
    old, new = builds(case, debian)
    program = driver(name, old, library, work)
    with started(program) as target:
        assert target.line() == "ready"
        install(new, library)
        yield Scene(target, library)


@pytest.mark.scenario(
    "objects",
    ("streams, patterns, events and statements of real libraries, half way",),
    live="`--drain`: ended by the code that began them; sqlite3 only with `--force`: drain-risk",
)
@pytest.mark.parametrize("name", CASES)
def test_what_is_begun_by_the_old_code_is_ended_by_it(
    name: str, debian: Debian, tmp_path: Path
) -> None:
    case = CASES[name]
    with scene(name, case, debian, tmp_path) as here:
        begun = here.drain()
        if case.risk:
            assert isinstance(begun, Refused)
            assert case.risk in begun.reason
            begun = here.drain(force=True)
        assert isinstance(begun, DrainBegun), begun
        still = here.settle()
        assert isinstance(still, StillDraining)
        assert any(case.doubt in doubt for doubt in still.left.doubts)
        assert answer(here.target) == "done", "old objects went on, and new ones were made"
        known = here.known()
        assert known.met
        assert known.made
        assert known.old + known.new == ()
        ended = here.settle()
        if case.doubt is not HELD:
            assert isinstance(ended, StillDraining)
            ended = here.settle(force=True)
        assert isinstance(ended, Settled), ended


@pytest.mark.scenario(
    "objects",
    ("numbers and strings of the program's own, with which either copy works",),
    live="`--drain`: the new code goes on with them at once",
)
@pytest.mark.parametrize("name", VALUES)
def test_what_the_program_lays_out_itself_is_used_by_the_new_code(
    name: str, debian: Debian, tmp_path: Path
) -> None:
    with scene(name, VALUES[name], debian, tmp_path) as here:
        begun = here.drain()
        assert isinstance(begun, DrainBegun), begun
        assert isinstance(here.settle(), Settled)
        assert answer(here.target) == "done"


@pytest.mark.scenario(
    "objects",
    ("functions in which objects of two copies meet: --drain",),
    live="refused: drain-unfit",
)
@pytest.mark.parametrize(
    ("name", "like", "met"),
    [
        ("seccomp", "seccomp_apart", "seccomp_merge"),
        ("jpeg", "jpeg_apart", "jpeg_read_coefficients, jpeg_write_coefficients"),
        ("json_c", "json_c_reader", "json_object_array_add, json_object_object_add"),
        ("gcrypt", "gcrypt_handles", "gcry_mpi_mul"),
    ],
)
def test_users_of_what_cannot_be_told_apart_are_refused(
    name: str, like: str, met: str, debian: Debian, tmp_path: Path
) -> None:
    with scene(name, CASES[like], debian, tmp_path) as here:
        begun = here.drain()
        assert isinstance(begun, Refused)
        assert f"drain-unfit: {met}" in begun.reason


@pytest.mark.scenario(
    "objects",
    ("two threads that parse, pack or match at full speed, each with objects of its own",),
    live="`--drain`: begins and settles while they do",
)
@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("expat", Case("libexpat.so.1", "libexpat1", "bookworm", "bookworm-security")),
        ("zlib", Case("libz.so.1", "zlib1g", "bullseye", "bookworm")),
        ("pcre2", Case("libpcre2-8.so.0", "libpcre2-8-0", "bullseye", "bookworm")),
        ("pcre2", Case("libpcre2-8.so.0", "libpcre2-8-0", "trixie", "forky")),
    ],
)
def test_a_drain_begins_and_settles_under_full_load(
    name: str, case: Case, debian: Debian, tmp_path: Path
) -> None:
    crossing = loaded(name, *builds(case, debian), tmp_path)
    assert crossing.end is End.CROSSED, crossing
    assert all(crossing.rounds), "before, during and after it"
    hidden = ": the program uses gzdopen, whose objects leave no trace" if name == "zlib" else ""
    assert crossing.told.startswith("settled by force" if hidden else "settled by itself")
    assert crossing.told.endswith(hidden)
