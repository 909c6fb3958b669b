"""How long a patch takes to build against targets of many symbols."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.section import Section, program, side_by_side

LIBSWAP = str(Path(sys.executable).with_name("libswap"))
COUNTS = (1_000, 100_000)
FIX = "int number_6(int); int number_7(int x) { return number_6(x) + 1; }\n"


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "fix.c").write_text(FIX)
        subprocess.run(["cc", "-O2", "-fPIC", "-c", "fix.c"], cwd=work, check=True)
        acts = {
            f"{count:,} functions": program(
                [LIBSWAP, "patch", "build", str(work / "fix.o"), "--target",
                 str(target(work, count)), "--output", str(work / "fix.lsp")]
            )
            for count in COUNTS
        }  # fmt: skip
        about = (
            "`libswap patch build fix.o --target LIBRARY`: the whole command, interpreter start"
            " included; half of the functions are static."
        )
        rows = side_by_side(acts, rounds=7)
    return (Section("Building a patch", about, rows),)


def target(work: Path, count: int) -> Path:
    """A library with that many functions, written in assembler: a compiler takes minutes."""
    lines = [".text"]
    for number in range(count):
        label = f"number_{number}"
        lines += [f".globl {label}"] * (number % 2)
        lines += [f".p2align 4\n.type {label},@function\n{label}:", f"lea {number}(%rdi),%eax"]
        lines += ["ret", f".size {label},.-{label}"]
    source = work / f"{count}.s"
    source.write_text("\n".join(lines) + '\n.section .note.GNU-stack,"",@progbits\n')
    library = work / f"lib{count}.so"
    subprocess.run(["cc", "-shared", "-o", library, source], check=True)
    return library
