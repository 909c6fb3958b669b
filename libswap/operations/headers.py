"""What header files declare of functions, as a compiler tells it in debug information."""

import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from libswap.elf.image import Image
from libswap.elf.subprograms import Subprogram, pointed_to
from libswap.errors.base import MissingTool
from libswap.errors.patch import CompilerFailed
from libswap.linux.command import find, run

_FLAGS: Final = ("-c", "-g", "-O0", "-w", "-fno-lto", "-fmax-errors=0")
_COMPILE_SECONDS: Final = 60.0
_MOST_TRIES: Final = 4
_PREFIX: Final = "libswap_points_to_"
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def declared(
    headers: Sequence[Path], names: Collection[str], cflags: Sequence[str] = ()
) -> dict[str, Subprogram]:
    """Those of the functions that the headers declare.

    Args:
        headers: C; what they include is looked for as `cflags` say.
        names: of functions.
        cflags: more words for the compiler.

    Raises:
        CompilerFailed: it refuses the headers.
        MissingTool: there is no compiler.
    """
    program = find("cc")
    what = ", ".join(map(str, headers))
    if program is None:
        raise MissingTool("cc", f"read {what}", "apt install gcc, or clang")
    asked = sorted(filter(_IDENTIFIER.fullmatch, names))
    said = ""
    with tempfile.TemporaryDirectory(prefix="libswap-") as work:
        source, made = Path(work, "declared.c"), Path(work, "declared.o")
        # Words of its own for each, so that no name of a file is taken for C.
        included = [word for h in headers for word in ("-include", str(h.resolve()))]
        argv = [program, *_FLAGS, *cflags, *included, "-o", str(made), str(source)]
        for _ in range(_MOST_TRIES):
            source.write_text("".join(f"__typeof__(&{n}) {_PREFIX}{n};\n" for n in asked))
            done = run(argv, timeout=_COMPILE_SECONDS, directory=str(Path.cwd()))
            if not done.status:
                return pointed_to(Image.open(made), _PREFIX)
            said = done.stderr.decode("utf-8", "replace").strip() or done.complaint
            refused = _refused(said, source)
            if refused.isdisjoint(range(len(asked))):
                break
            asked = [name for number, name in enumerate(asked) if number not in refused]
    raise CompilerFailed(what, said)


def _refused(said: str, source: Path) -> set[int]:
    """The numbers of functions of whose lines the compiler complains: nothing declares them."""
    lines = re.findall(rf"^{re.escape(str(source))}:(\d+):", said, re.MULTILINE)
    return {int(line) - 1 for line in lines}
