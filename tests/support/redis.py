"""Redis with TLS, which makes a new context whenever its certificate is set."""

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.servers import Server, started
from support.tls_load import ask, connected


def redis(work: Path, libraries: Path) -> AbstractContextManager[Server]:
    """The machine's Redis on a free port of the loopback, with a certificate made for it."""
    for program, package in (("redis-server", "redis-server"), ("openssl", "openssl")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    certificate, key = _certificate(work)

    def command(port: int) -> list[object]:
        return [
            *("redis-server", "--port", 0, "--tls-port", port, "--bind", "127.0.0.1"),
            *("--tls-cert-file", certificate, "--tls-key-file", key),
            *("--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"),
            *("--save", "", "--appendonly", "no", "--dir", work),
        ]

    return started(command, work / "redis.log", libraries)


def renew(work: Path, port: int) -> None:
    """Tell it of its certificate, so that it makes a new context."""
    with connected(port) as connection:
        ask(connection, b"+OK\r\n", "CONFIG", "SET", "tls-cert-file", str(work / "cert.pem"))


def _certificate(work: Path) -> tuple[Path, Path]:
    certificate, key = work / "cert.pem", work / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-keyout", key, "-out", certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
