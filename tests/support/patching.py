"""Programs of a few lines and patches of them, tried on running processes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libswap.operations import patch_apply, patch_revert
from libswap.operations.moves import Refused
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted
from libswap.patch.link import Wishes
from support.compiler import Compiler
from support.host import Host, host

KEEP = "#define KEEP __attribute__((noinline, noclone))\n"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where programs and patches are made.

    Attributes:
        compiler: makes everything.
        work: a directory of the test's own.
    """

    compiler: Compiler
    work: Path

    def library(self, source: str, *flags: str, name: str = "libscene.so", cc: str = "cc") -> Path:
        """A library of a few lines."""
        return self.compiler.library(KEEP + source, "-O2", *flags, name=name, soname=name, cc=cc)

    def program(
        self, source: str, *flags: str, libraries: Sequence[Path] = (), cc: str = "cc"
    ) -> Path:
        """A program that answers n with scenario(n), which its source defines."""
        code = [f for f in flags if not f.startswith("-Wl")]
        shared = [f for f in code if f.startswith(("-f", "-m", "-pie", "-no-pie"))]
        made = self.compiler.object(KEEP + source, "-O2", *code, name=f"scene.{_suffix(cc)}.o",
                                    cc=cc)  # fmt: skip
        paths = [f"-Wl,-rpath,{p.parent}" for p in libraries]
        return self.compiler.program(
            "patch/host.c", str(made), *map(str, libraries), *paths, *shared,
            *(f for f in flags if f.startswith("-Wl")), "-pthread",
            *(["-lstdc++"] if cc == "c++" else []),
        )  # fmt: skip

    def patch(self, target: Path, source: str, name: str = "fix", **wishes: object) -> Path:
        """A patch file."""
        suffix = "cc" if wishes.pop("cc", "cc") == "c++" else "c"
        flags = wishes.pop("cflags", ())
        file = self.work / f"{name}.{suffix}"
        file.write_text(KEEP + source)
        output = self.work / f"{name}.lsp"
        build(Request([file], target, output, Wishes(**wishes), cflags=flags))  # type: ignore[arg-type]
        return output

    @contextmanager
    def running(self, program: Path) -> Iterator[Host]:
        """It, answering."""
        with host(program) as process:
            yield process

    def tried(
        self,
        target: Path,
        source: str,
        before: int,
        after: int,
        *,
        program: Path | None = None,
        question: int = 0,
        **wishes: object,
    ) -> None:
        """One answer without the patch, another with it, and the first again.

        Args:
            target: the file that is patched.
            source: the patch.
            before: what the program answers without it.
            after: and with it.
            program: what runs, if it is not the target.
            question: what it is asked.
            wishes: the author's, and `cc` and `cflags`.
        """
        path = self.patch(target, source, **wishes)
        with self.running(program or target) as process:
            assert process.scenario(question) == before
            applied(path, process.pid)
            assert process.scenario(question) == after
            assert process.scenario(question) == after
            taken_back(process.pid)
            assert process.scenario(question) == before


def applied(path: Path, pid: int, **options: object) -> Applied:
    """Apply it, and it must have worked."""
    (result,) = patch_apply.apply(path, Options(**options), pids=[pid]).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Applied), result.outcome
    assert result.outcome.remarks == (), result.outcome
    return result.outcome


def refused(path: Path, pid: int, **options: object) -> Refused:
    """Try to apply it, and it must have been refused."""
    (result,) = patch_apply.apply(path, Options(**options), pids=[pid]).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Refused), result.outcome
    return result.outcome


def taken_back(pid: int, wanted: str = "", **options: object) -> Reverted:
    """Take one back, and it must have worked."""
    (result,) = patch_revert.revert([pid], wanted, Options(**options)).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Reverted), result.outcome
    return result.outcome


def not_taken_back(pid: int, wanted: str = "", **options: object) -> Refused:
    """Try to take one back, and it must have been refused."""
    (result,) = patch_revert.revert([pid], wanted, Options(**options)).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Refused), result.outcome
    return result.outcome


def _suffix(cc: str) -> str:
    return "cc" if cc == "c++" else "c"
