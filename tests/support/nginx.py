"""nginx with gzip on, serving pages whose every byte is known."""

import base64
import random
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from support.servers import Server, started

PAGES: Final = ("/small.txt", "/page.txt", "/large.txt")
SLOW: Final = "/slow/stream.txt"
"""Sent at 1 MB a second, so that one deflate stream is at work for seconds."""


def pages(directory: Path) -> dict[str, bytes]:
    """Text files below `directory` that compress by half, and what is in them by path."""
    made = {}
    sizes = {PAGES[0]: 700, PAGES[1]: 20_000, PAGES[2]: 150_000, SLOW: 2_000_000}
    for path, size in sizes.items():
        text = base64.b64encode(random.Random(path).randbytes(size))
        made[path] = b"\n".join(text[i : i + 60] * 2 for i in range(0, size // 2, 60))
        file = directory / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(made[path])
    return made


def nginx(
    work: Path, libraries: Path, workers: int = 2, inside: int | None = None
) -> AbstractContextManager[Server]:
    """The machine's nginx with its configuration, pages and logs below `work`."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")

    def command(port: int) -> list[str | Path]:
        (work / "nginx.conf").write_text(_configuration(work, port, workers))
        return ["nginx", "-e", work / "error.log", "-p", work, "-c", work / "nginx.conf"]

    return started(command, work / "nginx.log", libraries, inside, workers)


def _configuration(work: Path, port: int, workers: int) -> str:
    temporary = " ".join(
        f"{name}_temp_path {work}/temporary;"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
user root;
daemon off;
worker_processes {workers};
pid {work}/nginx.pid;
error_log {work}/error.log info;
events {{ worker_connections 256; }}
http {{
  {temporary}
  access_log off;
  keepalive_requests 1000000;
  gzip on; gzip_types text/plain; gzip_min_length 1;
  types {{ text/plain txt; }}
  server {{
    listen 127.0.0.1:{port};
    root {work}/pages;
    add_header X-Worker $pid;
    location /slow/ {{ limit_rate 1m; }}
  }}
}}
"""


def complaints(work: Path) -> list[str]:
    """What nginx logged that it should have had no reason to, an EINTR of epoll_wait included."""
    grave = ("[warn]", "[error]", "[crit]", "[alert]", "[emerg]", "Interrupted system call")
    lines = (work / "error.log").read_text().splitlines()
    return [line for line in lines if any(word in line for word in grave)]
