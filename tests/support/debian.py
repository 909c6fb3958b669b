"""Packages and sources of several Debian suites, kept apart from the machine's own apt state."""

import fcntl
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

SUITES: Final = ("bullseye", "bookworm", "trixie", "forky")
LATER: Final = ("bookworm-updates", "bookworm-backports")
SECURED: Final = ("bullseye-security", "bookworm-security", "trixie-security")
_LISTED: Final = "pools.list"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
Step: TypeAlias = list[str] | tuple[Path, str, str]
"""A command to run, or a file, a text in it and the text that takes its place."""
_PATIENCE: Final = 300  # seconds for one run of apt or of a build
_CAREFULLY: Final[Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11.2, which is Debian 12's, does not have it yet; apt has verified the archive."""


@dataclass(eq=False)
class Unavailable(Exception):
    """A version cannot be had here; tests skip with this very text."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} cannot be had here: {self.why}"


def cache_dir() -> Path:
    """Where downloads and builds stay between runs ($XDG_CACHE_HOME/libswap-tests)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "libswap-tests"


@dataclass(frozen=True, slots=True)
class Debian:
    """Debian's archive as the machine's own sources reach it, with lists of our own."""

    cache: Path

    def package(self, name: str, suite: str) -> Path:
        """The files of a package of a suite, unpacked (nothing is installed)."""
        return self._kept(f"{suite}-{name}", lambda work: self._unpack(name, suite, work))

    def source(self, name: str, suite: str) -> Path:
        """The upstream source of a package of a suite, unpacked."""
        return self._kept(f"{suite}-{name}-source", lambda work: self._extract(name, suite, work))

    def built(self, name: str, source: Path, steps: Sequence[Step]) -> Path:
        """A copy of `source` in which `steps` have been run, kept by `name`."""
        return self._kept(name, lambda work: _build(source, steps, work))

    def _kept(self, name: str, make: Callable[[Path], None]) -> Path:
        """`cache`/`name`, made once: in a directory beside it that is renamed when whole."""
        made = self.cache / name
        with self._locked():
            if not made.exists():
                work = self.cache / f".{name}.making"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True)
                make(work)
                work.rename(made)
        return made

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _unpack(self, name: str, suite: str, work: Path) -> None:
        self._apt(f"{name} of {suite}", "download", f"{name}/{suite}", directory=work)
        [archive] = work.glob("*.deb")
        _run(f"{name} of {suite}", ["dpkg", "-x", str(archive), str(work)])
        archive.rename(work / "package.deb")
        (work / "version").write_text(archive.name.split("_")[1].replace("%3a", ":") + "\n")

    def _extract(self, name: str, suite: str, work: Path) -> None:
        words = ["source", "--download-only", "--only-source", f"{name}/{suite}"]
        what = f"the source of {name} of {suite}"
        try:
            self._apt(what, *words, directory=work)
        except Unavailable:
            # The packaging may have moved on while the upstream archive is still there.
            if not list(work.glob("*.orig.tar.*z")):
                raise
        [archive] = work.glob("*.orig.tar.*[!c]")
        with tarfile.open(archive) as packed:
            packed.extractall(work / "tree", **_CAREFULLY)
        (work / "version").write_text(archive.name.split("_")[1].split(".orig")[0] + "\n")

    def _apt(self, what: str, *words: str, directory: Path) -> None:
        state = self.cache / ".apt"
        if not (state / _LISTED).exists():
            self._fill(state, what)
        _run(what, ["apt-get", *_private(state), *words], directory)

    def _fill(self, state: Path, what: str) -> None:
        """Lists of every suite, from the mirror that the machine's own sources name."""
        if shutil.which("apt-get") is None:
            raise Unavailable(what, "apt-get is not installed")
        mirror = _mirror(what)
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        for directory in (state / "lists" / "partial", state / "cache" / "archives" / "partial"):
            directory.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        listed = state / f"{_LISTED}.new"
        places = [(mirror, suite) for suite in (*SUITES, *LATER)]
        places += [(mirror.rstrip("/") + "-security", suite) for suite in SECURED]
        listed.write_text(
            "".join(f"{t} {signed}{m} {s} main\n" for m, s in places for t in ("deb", "deb-src"))
        )
        _run(what, ["apt-get", *_private(state, listed.name), "update"])
        listed.rename(state / _LISTED)


def version_of(tree: Path) -> str:
    """The version of a package or source that `Debian` unpacked."""
    return (tree / "version").read_text().strip()


def insist_on_needed(program: Path, libraries: Path) -> None:
    """Whether the machine has what an unpacked program or module needs.

    Raises:
        Unavailable: it has not, with the names of the libraries.
    """
    searched = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    told = subprocess.run(
        ["ldd", str(program)], env=searched, capture_output=True, text=True, check=False
    )
    lacking = [line.split()[0] for line in told.stdout.splitlines() if "not found" in line]
    if lacking:
        raise Unavailable(program.name, f"it needs {', '.join(lacking)}")


def _mirror(what: str) -> str:
    """Where the machine's apt takes Debian's main packages from."""
    form = "$(REPO_URI) $(ORIGIN) $(COMPONENT)"
    listed = _run(what, ["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    for line in listed.splitlines():
        uri, *rest = line.split()
        if rest == ["Debian", "main"] and "security" not in uri:
            return uri
    raise Unavailable(what, "the apt sources of this machine name no Debian mirror")


def _private(state: Path, sources: str = _LISTED) -> list[str]:
    """Options that keep apt off the machine's lists, cache, status and update hooks."""
    places = {
        "Dir::Etc::sourcelist": state / sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        # Container images switch these off, and every run of apt takes seconds to do without.
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "APT::Sandbox::User": "root",
        "APT::Update::Post-Invoke": "",
        "APT::Update::Post-Invoke-Success": "",
    }
    return [word for key, value in places.items() for word in ("-o", f"{key}={value}")]


def _build(source: Path, steps: Sequence[Step], work: Path) -> None:
    [top] = (source / "tree").iterdir()
    shutil.copytree(top, work / "tree", symlinks=True)
    for step in steps:
        match step:
            case (Path() as file, str() as old, str() as new):
                text = (work / "tree" / file).read_text()
                assert old in text, f"{file} holds no {old!r}"
                (work / "tree" / file).write_text(text.replace(old, new))
            case [*words]:
                _run(f"a build of {source.name}", words, work / "tree")
    shutil.copy(source / "version", work / "version")


def _run(what: str, words: Sequence[str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            words, cwd=directory, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(what, f"{words[0]}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Unavailable(what, f"{words[0]} exited with {done.returncode}: {' / '.join(said)}")
    return done.stdout
