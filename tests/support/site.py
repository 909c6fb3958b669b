"""Small libraries that differ in what one function returns, and a place to install them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libswap.install.obstacles import Allowance
from libswap.install.transaction import Strategy
from libswap.operations import install as installing
from libswap.operations import rollback as rolling
from libswap.settings import Settings
from support.compiler import Compiler

SOURCE = "int version(void) {{ return {version}; }}\nint {extra}(void) {{ return 0; }}\n"


def library(
    compiler: Compiler, version: int, *flags: str, soname: str = "libx.so.1", extra: str = "also"
) -> Path:
    """A library whose `version()` returns a number."""
    text = SOURCE.format(version=version, extra=extra)
    return compiler.library(text, "-Wl,--build-id", *flags, soname=soname)


@dataclass(frozen=True, slots=True)
class Site:
    """A directory of libraries and a state directory of its own.

    Attributes:
        root: holds both.
    """

    root: Path

    @property
    def lib(self) -> Path:
        """Where the libraries are."""
        return self.root / "lib"

    @property
    def settings(self) -> Settings:
        """With the state directory of this site."""
        return Settings(state_dir=self.root / "state", lock_wait=0)

    def place(self, source: Path, name: str, *links: str) -> Path:
        """Put a library there by hand, with a chain of links to it."""
        self.lib.mkdir(exist_ok=True)
        path = self.lib / name
        path.write_bytes(source.read_bytes())
        for link in links:
            (self.lib / link).symlink_to(name)
            name = link
        return path

    def plan(self, *sources: Path, to: Path | None = None, **options: Any) -> installing.Plan:
        """Plan an installation into the directory, or to one path."""
        return installing.plan(self.request(*sources, to=to, **options), self.settings)

    def install(
        self, *sources: Path, to: Path | None = None, **options: Any
    ) -> installing.Installed:
        """Plan and carry out."""
        return installing.carry_out(self.plan(*sources, to=to, **options), self.settings)

    def rollback(self, what: str | None = None, **allowance: bool) -> rolling.RolledBack:
        """Plan and carry out a rollback."""
        plan = rolling.plan(what, self.settings, Allowance(**allowance))
        return rolling.carry_out(plan, self.settings)

    def request(
        self,
        *sources: Path,
        to: Path | None = None,
        strategy: Strategy = Strategy.RENAME,
        dereference: bool = True,
        **allowance: bool,
    ) -> installing.Request:
        """What to ask for."""
        return installing.Request(
            sources=tuple(map(str, sources)),
            destination=str(to or self.lib),
            strategy=strategy,
            dereference=dereference,
            allowance=Allowance(**allowance),
        )

    def names(self) -> list[str]:
        """Everything in the directory of libraries, hidden names too."""
        return sorted(path.name for path in self.lib.iterdir())

    def store(self) -> list[str]:
        """The names of the kept files."""
        return sorted(path.name for path in (self.root / "state/store").iterdir())


def untouched(path: Path) -> tuple[int, ...]:
    """What stays the same as long as nobody changes a file; reading moves only its atime."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
