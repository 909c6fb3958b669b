"""A zipapp and a Debian package from the wheel: libswap with its dependencies.

    python packaging/bundle.py WHEEL DIRECTORY

SOURCE_DATE_EPOCH is the time of everything in the package, 1980 that of everything in the zipapp,
so that the same wheel and the same versions of what it depends on give the same bytes.
"""

import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from libswap.fleet import archive_main
from libswap.fleet.bundle import archive

ROOT = Path(__file__).parents[1]
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1577836800"))
NATIVE = "iced_x86"
"""The one compiled package, for live mode: unpacked by the zipapp when it is asked for, and not in
the Debian package, which is for all architectures."""
LAUNCHER = """\
#!/usr/bin/python3
import os
import sys

here = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(here, "..", "share", "libswap"))
from libswap.__main__ import main

sys.exit(main())
"""
CONTROL = """\
Package: libswap
Version: {version}
Architecture: all
Maintainer: The libswap developers <libswap@localhost>
Depends: python3 (>= 3.11)
Suggests: python3-pip, abigail-tools
Section: admin
Priority: optional
Description: upgrade shared libraries without breaking running programs
 Replaces shared libraries on a machine that is in use, says who is affected,
 moves running processes onto the new ones, and takes all of it back.
"""
# dpkg removes only what it installed; the interpreter's cache is made and removed here.
POSTINST = "#!/bin/sh\nset -e\npython3 -m compileall -q /usr/share/libswap || true\n"
PRERM = "#!/bin/sh\nset -e\nfind /usr/share/libswap -name __pycache__ -exec rm -rf {} +\n"


def tree(wheel: Path, into: Path) -> None:
    """Unpack the wheel and everything it needs; of compiled files only what has no other form."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", str(into)]
    subprocess.run([*pip, f"{wheel}[html,live]"], check=True)
    shutil.rmtree(into / "bin", ignore_errors=True)
    for library in into.rglob("*.so"):
        if library.parent.name != NATIVE:
            library.unlink()  # markupsafe's is only faster
    shutil.rmtree(into / "share", ignore_errors=True)
    for information in into.glob("*.dist-info"):
        for name in ("direct_url.json", "INSTALLER", "REQUESTED"):  # paths of this build
            (information / name).unlink(missing_ok=True)
        _shorten(information / "RECORD", into)


def _shorten(record: Path, root: Path) -> None:
    """Leave in the list of a distribution's files, for `libswap fleet`, those that are there."""
    with record.open(newline="") as file:
        rows = [row for row in csv.reader(file) if (root / row[0]).is_file()]
    with record.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def zipapp(source: Path, file: Path) -> None:
    """Everything in one file that python3 runs."""
    entries = {"__main__.py": Path(archive_main.__file__)}
    for path in source.rglob("*"):
        if path.is_file():
            name = path.relative_to(source).as_posix()
            below = archive_main.NATIVE if name.startswith(f"{NATIVE}/") else ""
            entries[below + name] = path
    file.write_bytes(archive(entries))
    file.chmod(0o755)


def debian(source: Path, version: str, file: Path) -> None:
    """A package with the program, its manual, completions and the hook of apt."""
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "root"
        compiled = shutil.ignore_patterns(f"{NATIVE}*")
        shutil.copytree(source, root / "usr/share/libswap", ignore=compiled)
        _write(root / "usr/bin/libswap", LAUNCHER, 0o755)
        for page in sorted((ROOT / "packaging/man").glob("*.1")):
            target = root / f"usr/share/man/man1/{page.name}.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.compress(page.read_bytes(), mtime=EPOCH))
        for name, place in (
            ("completions/libswap.bash", "usr/share/bash-completion/completions/libswap"),
            ("completions/_libswap", "usr/share/zsh/vendor-completions/_libswap"),
            ("completions/libswap.fish", "usr/share/fish/vendor_completions.d/libswap.fish"),
            ("apt/99libswap", "etc/apt/apt.conf.d/99libswap"),
        ):
            _write(root / place, (ROOT / "packaging" / name).read_text())
        hook = (ROOT / "packaging/hooks/after-upgrade").read_text()
        _write(root / "usr/lib/libswap/after-upgrade", hook, 0o755)
        _write(root / "usr/share/doc/libswap/copyright", (ROOT / "LICENSE").read_text())
        _write(root / "DEBIAN/control", CONTROL.format(version=version))
        _write(root / "DEBIAN/conffiles", "/etc/apt/apt.conf.d/99libswap\n")
        _write(root / "DEBIAN/postinst", POSTINST, 0o755)
        _write(root / "DEBIAN/prerm", PRERM, 0o755)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (EPOCH, EPOCH))
        build = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(file)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env=environment)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def main(wheel: Path, out: Path) -> int:
    """Build both; the Debian package only where dpkg-deb is."""
    found = re.match(r"libswap-([^-]+)-", wheel.name)
    if found is None:
        sys.stderr.write(f"{wheel} is no wheel of libswap\n")
        return 2
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "tree"
        tree(wheel, source)
        zipapp(source, out / f"libswap-{found[1]}.pyz")
        if shutil.which("dpkg-deb"):
            debian(source, found[1], out / f"libswap_{found[1]}_all.deb")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
