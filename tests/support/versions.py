"""Real libraries in all versions that the suites and pools of Debian have, for drivers of ours."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.debian import Debian, Unavailable, version_of

POOLS: Final = (
    "bullseye", "bullseye-security", "bookworm", "bookworm-updates", "bookworm-security",
    "bookworm-backports", "trixie", "trixie-security", "forky",
)  # fmt: skip
"""Oldest first."""


@dataclass(frozen=True, slots=True)
class Real:
    """One library.

    Attributes:
        name: of the driver, fixtures/survival/NAME.c.
        packages: what Debian calls it, from suite to suite.
        file: how the shared object is called.
    """

    name: str
    packages: tuple[str, ...]
    file: str


REAL: Final = (
    Real("zlib", ("zlib1g",), "libz.so.1.*"),
    Real("bz2", ("libbz2-1.0",), "libbz2.so.1.0.*"),
    Real("lzma", ("liblzma5",), "liblzma.so.5.*"),
    Real("zstd", ("libzstd1",), "libzstd.so.1.*"),
    Real("brotli_encoder", ("libbrotli1",), "libbrotlienc.so.1.*"),
    Real("lz4", ("liblz4-1",), "liblz4.so.1.*"),
    Real("expat", ("libexpat1",), "libexpat.so.1.*"),
    Real("yaml", ("libyaml-0-2",), "libyaml-0.so.2.*"),
    Real("jansson", ("libjansson4",), "libjansson.so.4.*"),
    Real("cjson", ("libcjson1",), "libcjson.so.1.*"),
    Real("json_c", ("libjson-c5",), "libjson-c.so.5.*"),
    Real("yajl", ("libyajl2",), "libyajl.so.2.*"),
    Real("sqlite3", ("libsqlite3-0",), "libsqlite3.so.0.*"),
    Real("pcre2", ("libpcre2-8-0",), "libpcre2-8.so.0.*"),
    Real("onig", ("libonig5",), "libonig.so.5.*"),
    Real("xxhash", ("libxxhash0",), "libxxhash.so.0.*"),
    Real("gmp", ("libgmp10",), "libgmp.so.10.*"),
    Real("mpfr", ("libmpfr6",), "libmpfr.so.6.*"),
    Real("libevent", ("libevent-2.1-7", "libevent-2.1-7t64"), "libevent-2.1.so.7.*"),
)


HELD: Final = (
    Real("ogg", ("libogg0",), "libogg.so.0.*"),
    Real("png", ("libpng16-16", "libpng16-16t64"), "libpng16.so.16.*"),
    Real("nghttp2", ("libnghttp2-14",), "libnghttp2.so.14.*"),
    Real("uv", ("libuv1", "libuv1t64"), "libuv.so.1.*"),
    Real("lcms2", ("liblcms2-2",), "liblcms2.so.2.*"),
    Real("popt", ("libpopt0",), "libpopt.so.0.*"),
    Real("tasn1", ("libtasn1-6",), "libtasn1.so.6.*"),
    Real("cares", ("libc-ares2",), "libcares.so.2.*"),
    Real("gif", ("libgif7",), "libgif.so.7.*"),
    Real("evdev", ("libevdev2",), "libevdev.so.2.*"),
    Real("speex", ("libspeex1",), "libspeex.so.1.*"),
    Real("gcrypt", ("libgcrypt20",), "libgcrypt.so.20.*"),
    Real("http_parser", ("libhttp-parser2.9",), "libhttp_parser.so.2.9.*"),
    Real("crypto", ("libssl3", "libssl3t64"), "libcrypto.so.3"),
)
"""Held back at first; looked at since, for the rules of what is accessed at once and of what the
library's own data hold."""


FRESH: Final = (
    Real("opus", ("libopus0",), "libopus.so.0.*"),
    Real("samplerate", ("libsamplerate0",), "libsamplerate.so.0.*"),
    Real("deflate", ("libdeflate0",), "libdeflate.so.0*"),
    Real("speexdsp", ("libspeexdsp1",), "libspeexdsp.so.1.*"),
    Real("pcap", ("libpcap0.8", "libpcap0.8t64"), "libpcap.so.*"),
    Real("archive", ("libarchive13", "libarchive13t64"), "libarchive.so.13.*"),
    Real("fribidi", ("libfribidi0",), "libfribidi.so.0.*"),
)
"""Held back; looked at since, at pcap alone, for the rule of functions that objects keep."""


BLIND: Final = (
    Real("ssh", ("libssh-gcrypt-4",), "libssh-gcrypt.so.4.*"),
    Real("gnutls", ("libgnutls30",), "libgnutls.so.30.*"),
    Real("jpeg", ("libjpeg62-turbo",), "libjpeg.so.62.*"),
    Real("openjp2", ("libopenjp2-7",), "libopenjp2.so.2*"),
    Real("freetype", ("libfreetype6",), "libfreetype.so.6.*"),
    Real("htp", ("libhtp2",), "libhtp.so.2.*"),
    Real("microhttpd", ("libmicrohttpd12", "libmicrohttpd12t64"), "libmicrohttpd.so.12*"),
    Real("dbus", ("libdbus-1-3",), "libdbus-1.so.3.*"),
    Real("jq", ("libjq1",), "libjq.so.1.*"),
    Real("exif", ("libexif12",), "libexif.so.12.*"),
    Real("leveldb", ("libleveldb1d",), "libleveldb.so.1.*"),
    Real("tdb", ("libtdb1",), "libtdb.so.1*"),
    Real("seccomp", ("libseccomp2",), "libseccomp.so.2.*"),
)
"""Chosen, and their drivers written, before any verdict on them was known. The drivers of jpeg,
openjp2 and dbus reach more since, what the verdicts named; rules were made with a look at htp and
seccomp."""


BLIND_2: Final = (
    Real("talloc", ("libtalloc2",), "libtalloc.so.2.*"),
    Real("librsync", ("librsync2", "librsync2t64"), "librsync.so.2.*"),
    Real("lua", ("liblua5.4-0",), "liblua5.4.so.0.*"),
    Real("mpg123", ("libmpg123-0", "libmpg123-0t64"), "libmpg123.so.0.*"),
    Real("jbig2dec", ("libjbig2dec0",), "libjbig2dec.so.0.*"),
    Real("smartcols", ("libsmartcols1",), "libsmartcols.so.1.*"),
    Real("nftnl", ("libnftnl11",), "libnftnl.so.11.*"),
    Real("minizip", ("libminizip1", "libminizip1t64"), "libminizip.so.1.*"),
    Real("fastjson", ("libfastjson4",), "libfastjson.so.4.*"),
    Real("modbus", ("libmodbus5",), "libmodbus.so.5.*"),
    Real("ssh2", ("libssh2-1", "libssh2-1t64"), "libssh2.so.1.*"),
    Real("xslt", ("libxslt1.1",), "libxslt.so.1.*"),
    Real("gdbm", ("libgdbm6", "libgdbm6t64"), "libgdbm.so.6.*"),
    Real("vterm", ("libvterm0",), "libvterm.so.0.*"),
    Real("datrie", ("libdatrie1",), "libdatrie.so.1.*"),
    Real("wavpack", ("libwavpack1",), "libwavpack.so.1.*"),
)
"""Chosen, and their drivers written, after the rules were made with a look at all of the others,
and before any verdict on them was known."""


@dataclass(frozen=True, slots=True)
class Version:
    """One build of one library."""

    path: Path
    version: str
    pool: str


def versions(debian: Debian, real: Real) -> Iterator[Version]:
    """Every build that this machine's dynamic linker can load, the oldest pool first."""
    seen: set[str] = set()
    for pool in POOLS:
        for package in real.packages:
            found = _version(debian, real, package, pool)
            if found is not None and found.version not in seen:
                seen.add(found.version)
                if loadable(found.path):
                    yield found


def _version(debian: Debian, real: Real, package: str, pool: str) -> Version | None:
    try:
        tree = debian.package(package, pool)
    except Unavailable:
        return None
    paths = sorted(p for p in tree.rglob(real.file) if not p.is_symlink())
    return Version(paths[0], version_of(tree), pool) if paths else None


def loadable(path: Path) -> bool:
    """Whether nothing that it needs is missing or too old here."""
    done = subprocess.run(
        ["/lib64/ld-linux-x86-64.so.2", "--verify", str(path)], check=False, env=dict(os.environ)
    )
    told = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False)
    return done.returncode in (0, 2) and "not found" not in told.stdout + told.stderr
