"""lighttpd, where only a module that it loads with dlopen needs zlib."""

from contextlib import AbstractContextManager
from pathlib import Path

from support.debian import Debian, insist_on_needed
from support.servers import Server, started


def lighttpd(debian: Debian, work: Path, libraries: Path) -> AbstractContextManager[Server]:
    """lighttpd of bookworm from its unpacked package, with pages below `work`.

    Raises:
        Unavailable: the package or a library that it needs cannot be had.
    """
    server = debian.package("lighttpd", "bookworm")
    deflate = debian.package("lighttpd-mod-deflate", "bookworm")
    modules = work / "modules"
    modules.mkdir(exist_ok=True)
    for module in [*server.rglob("mod_*.so"), *deflate.rglob("mod_*.so")]:
        (modules / module.name).symlink_to(module)
    insist_on_needed(modules / "mod_deflate.so", libraries)
    program = server / "usr" / "sbin" / "lighttpd"
    insist_on_needed(program, libraries)

    def command(port: int) -> list[str | Path]:
        (work / "lighttpd.conf").write_text(_configuration(work, port))
        return [program, "-D", "-f", work / "lighttpd.conf", "-m", modules]

    return started(command, work / "lighttpd.log", libraries)


def _configuration(work: Path, port: int) -> str:
    return f"""
server.modules = ("mod_setenv", "mod_deflate")
server.document-root = "{work}/pages"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-requests = 1000000
server.errorlog = "{work}/error.log"
mimetype.assign = (".txt" => "text/plain")
deflate.mimetypes = ("text/plain")
deflate.allowed-encodings = ("gzip")
"""
