"""Two versions of a library as facts, compiled from C text or changed by hand."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from libswap.abi.compare import compare
from libswap.abi.finding import Finding
from libswap.elf.image import Image
from libswap.elf.library import Library, read_library
from support.compiler import Compiler


@dataclass(frozen=True, slots=True)
class Makes:
    """Compiles libraries and reads them."""

    compiler: Compiler

    def library(self, source: str, *flags: str, versions: str = "", cc: str = "cc") -> Library:
        """The facts of a library made of C text; `versions` is a linker version script."""
        return facts(self.path(source, *flags, versions=versions, cc=cc))

    def path(self, source: str, *flags: str, versions: str = "", cc: str = "cc") -> Path:
        if versions:
            script = self.compiler.text(versions, ".map")
            flags = (*flags, f"-Wl,--version-script={script}")
        name = "libfixture.so.1"
        return self.compiler.library(source + "\n", *flags, name=name, soname=name, cc=cc)


def facts(path: str | Path) -> Library:
    return read_library(Image.open(path))


def rules(findings: Collection[Finding]) -> set[tuple[str, str]]:
    """What was found, without the words."""
    return {(finding.rule, finding.subject) for finding in findings}


def difference(old: Library, new: Library) -> set[tuple[str, str]]:
    return rules(compare(old, new))
