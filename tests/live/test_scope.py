"""Which definition a patch binds to, in processes that define a name several times."""

from pathlib import Path

import pytest

from libswap.operations.patch_apply import apply
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from support.compiler import Compiler
from support.host import host

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

PLUGIN = """
int tag(void) {{ return {0} + (0 * (long)&tag > 5); }}
static __attribute__((noinline, noclone)) int ask(int x) {{ return tag() * 10 + x + x / 3; }}
int run(int x) {{ return ask(x); }}
"""
MAIN = """
#include <dlfcn.h>
#include <stdlib.h>
static int (*run[2])(int);
long scenario(long x)
{
    if (!run[0])
        for (int i = 0; i < 2; i++)
            run[i] = (int (*)(int))dlsym(dlopen(getenv(i ? "SECOND" : "FIRST"), RTLD_NOW), "run");
    return run[0]((int)x) * 1000L + run[1]((int)x);
}
"""


def test_a_plugin_with_a_name_of_another_plugin_gets_its_own(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        compiler.library(PLUGIN.format(n), "-O1", name=f"lib{n}.so", soname=f"lib{n}.so")
        for n in (1, 2)
    )
    monkeypatch.setenv("FIRST", str(first))
    monkeypatch.setenv("SECOND", str(second))
    program = compiler.program("patch/host.c", str(compiler.object(MAIN)))
    source, output = tmp_path / "fix.c", tmp_path / "fix.lsp"
    source.write_text("int tag(void);\nint ask(int x) { return tag() * 100 + x; }\n")
    build(Request([source], second, output))
    with host(program) as process:
        assert process.scenario(0) == 10020
        (result,) = apply(output, Options(), pids=[process.pid]).processes
        assert isinstance(result.outcome, Applied), result.outcome
        assert process.scenario(0) == 10200
