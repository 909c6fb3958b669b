from pathlib import Path

import pytest

from libswap.errors.patch import SymbolsUnresolved
from support.compiler import Compiler, has
from support.host import host, linked
from support.shop import Shop

pytestmark = pytest.mark.compiler

LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")


PROGRAMS = {
    "pie": ["-pie", "-fPIE"],
    "no-pie": ["-no-pie", "-fno-pie"],
    "static": ["-static", "-no-pie", "-fno-pie"],
}
MODELS = {
    "pic": ["-fPIC"],
    "pie": ["-fPIE"],
    "no-plt": ["-fPIC", "-fno-plt"],
    "sections": ["-fPIC", "-ffunction-sections", "-fdata-sections"],
    "absolute": ["-fno-pic", "-fno-pie"],
    "large": ["-mcmodel=large", "-fno-pic", "-fno-pie"],
    "large-pic": ["-mcmodel=large", "-fPIC"],
    "medium": ["-mcmodel=medium", "-fno-pic", "-fno-pie"],
    "descriptors": ["-fPIC", "-mtls-dialect=gnu2"],
}
TARGETS = (
    [("pie", m) for m in ("pic", "pie", "no-plt", "sections", "large", "large-pic", "descriptors")]
    + [("no-pie", m) for m in MODELS if m != "descriptors"]
    + [("static", m) for m in ("absolute", "pie", "large")]
)


@pytest.mark.parametrize("cc", ["gcc", "clang"])
@pytest.mark.parametrize(("kind", "model"), TARGETS)
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3"])
def test_patched_code_computes_what_its_source_says(
    compiler: Compiler, cc: str, kind: str, model: str, level: str
) -> None:
    if not has(cc) or (cc == "clang" and model == "descriptors"):
        pytest.skip(f"no {cc} that knows {MODELS[model]}")
    flags = PROGRAMS[kind]
    shop = compiler.object("patch/shop.c", "-O2", *(f for f in flags if f.startswith("-f")))
    program = compiler.program("patch/host.c", str(shop), *flags, "-g")
    fix = compiler.object("patch/shop_fix.c", level, *MODELS[model], cc=cc)
    patch = linked(program, fix, libraries=[] if kind == "static" else [LIBC])
    assert {r.label for r in patch.replaced} == {"price_of", "secret@source.c"}
    expected = Shop()
    with host(program) as process:
        assert process.scenario(1) == expected.old(1)
        process.apply(patch)
        for item in (0, 1, 2, 3, 4, 5, 6, 7, 100):
            assert process.scenario(item) == expected.new(item)


def test_a_name_that_is_nowhere_is_said_with_all_others(compiler: Compiler) -> None:
    shop = compiler.object("patch/shop.c", "-O2")
    program = compiler.program("patch/host.c", str(shop))
    source = """
    extern int nowhere(int), nothing;
    int price_of(int item) { return nowhere(item) + nothing; }
    """
    fix = compiler.object(source)
    with pytest.raises(SymbolsUnresolved) as caught:
        linked(program, fix)
    assert [p.split()[0] for p in caught.value.problems] == ["nowhere", "nothing"]
