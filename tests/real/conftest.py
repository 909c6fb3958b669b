"""The real builds that these tests move servers between; what cannot be had skips its tests."""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import pytest

from support import builds
from support.builds import Build
from support.debian import Debian, Unavailable, cache_dir

Builder: TypeAlias = Callable[[Debian], Build]


@pytest.fixture(scope="session")
def debian() -> Debian:
    return Debian(cache_dir())


@pytest.fixture(scope="session")
def build(debian: Debian) -> Callable[[str], Build]:
    """A build by its name below; skips with the reason where it cannot be had."""

    @cache
    def get(name: str) -> Build:
        try:
            made = _BUILDS[name](debian)
        except Unavailable as reason:
            pytest.skip(str(reason))
        return made

    return get


_BUILDS: dict[str, Builder] = {
    "zlib 1.2.13 of Debian": lambda d: builds.zlib_package(d, "bookworm"),
    "zlib 1.3.1 of Debian": lambda d: builds.zlib_package(d, "trixie"),
    "zlib 1.3.1 reshaped": lambda d: builds.zlib_reshaped(d, "trixie", 41),
    "expat of Debian 12": lambda d: builds.expat_package(d, "bookworm"),
    "expat of Debian 12 with security updates": lambda d: builds.expat_package(
        d, "bookworm-security"
    ),
    "OpenSSL 3.0 of Debian 12": lambda d: builds.package(d, "libssl3", "bookworm", "libssl.so.3"),
    "OpenSSL 3.0 of Debian 12 with security updates": lambda d: builds.package(
        d, "libssl3", "bookworm-security", "libssl.so.3"
    ),
    "zlib 1.3.1 marked": lambda d: builds.zlib_built(d, "trixie", 31),
    "zlib 1.2.13 marked": lambda d: builds.zlib_built(d, "bookworm", 19),
    "libevent 2.1.12 first": lambda d: builds.libevent_built(d, "bookworm", "first"),
    "libevent 2.1.12 second": lambda d: builds.libevent_built(d, "bookworm", "second"),
    "libevent 2.1.13": lambda d: builds.libevent_built(d, "forky", "third"),
}
