from pathlib import Path

import pytest

from support.compiler import Compiler, has
from support.host import host, linked

pytestmark = pytest.mark.compiler

LIBRARIES = [
    Path("/lib/x86_64-linux-gnu", n) for n in ("libc.so.6", "libstdc++.so.6", "libgcc_s.so.1")
]


@pytest.mark.parametrize("cc", ["g++", "clang++"])
@pytest.mark.parametrize("model", ["-fPIC", "-mcmodel=large"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_exceptions_pass_through_patched_functions(
    compiler: Compiler, cc: str, model: str, level: str
) -> None:
    if not has(cc):
        pytest.skip(f"no {cc}")
    pie = "-pie" if model == "-fPIC" else "-no-pie"
    code = model if model == "-fPIC" else "-fno-pie"
    main = compiler.object("patch/host.c", "-O2", code)
    program = compiler.program("patch/thrower.cc", str(main), pie, code, "-O2", cc="g++")
    fix = compiler.object("patch/thrower_fix.cc", level, model, code, cc=cc)
    patch = linked(program, fix, libraries=LIBRARIES)
    assert patch.unwind is not None
    assert len(patch.hooks.constructors) == 1
    with host(program) as process:
        assert process.scenario(2) == 2000 + 5 + 6 + 2 + 100
        process.apply(patch)
        assert process.scenario(1) == 1000 + 3 + 2 + 1 + 100
        assert process.scenario(3) == -100 - 1
        assert process.scenario(4) == -100 - ord("m")
        assert process.scenario(6) == 6000 + 8 + 7 + 6 + 100
        assert process.scenario(5) == 5000 + 5 * 11 + 2 + 6 + 5 + 100
