"""Data without names is paired with what the symbols, which libswap does not see, say it is."""

import os
import random
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.elf.nameless import Nameless
from libswap.live.library import Library
from libswap.live.writable import nameless_ranges
from libswap.survival.counterparts import counterparts
from libswap.survival.sources import Source
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

ROUNDS = int(os.environ.get("LIBSWAP_NAMELESS_ROUNDS", "6"))
TYPES = ("int", "long", "char", "short", "int[5]", "long[9]", "char[40]", "struct s", "struct t")
HEAD = (
    "#include <string.h>\n"
    "struct s { int a; long b; char *c; }; struct t { char n[12]; int k; };\n"
    "__attribute__((noinline)) static void raise_s(struct s *p) { p->a++; p->b += p->a; }\n"
    "__attribute__((noinline)) static void raise_t(struct t *p) { p->n[p->k++ % 12]++; }\n"
)


@dataclass(frozen=True)
class Variable:
    name: str
    type: str
    first: int
    align: int = 1

    @property
    def declared(self) -> str:
        base, _, size = self.type.partition("[")
        first = f" = {self.first}" if self.first and not size and "struct" not in base else ""
        apart = f" __attribute__((aligned({self.align})))" if self.align > 1 else ""
        return f"static {base} {self.name}{'[' if size else ''}{size}{apart}{first};\n"

    @property
    def set(self) -> str:
        """A constructor that gives it a value, as only one version may have."""
        to = f"memset(&{self.name}, 7, sizeof {self.name});"
        return f"__attribute__((constructor)) static void set_{self.name}(void) {{ {to} }}\n"


@dataclass(frozen=True)
class Use:
    """A statement: which variable, and what is done to it."""

    variable: str
    act: int

    def text(self, variables: dict[str, Variable]) -> str:
        found = variables.get(self.variable)
        if found is None:
            return ""
        name, act = found.name, self.act
        match found.type:
            case "struct s":
                return (f"raise_s(&{name});", f"{name}.b ^= i;", f"r += {name}.a;")[act % 3]
            case "struct t":
                return (f"raise_t(&{name});", f"r += {name}.n[i % 12];", f"{name}.k += 3;")[act % 3]
            case kind if "[" in kind:
                size = int(kind[kind.index("[") + 1 : -1])
                return (
                    f"for (int j = 0; j < {size}; j++) {name}[j] += i + j;",
                    f"r += {name}[{act % size}];",
                    f"{name}[(unsigned)i % {size}] = r;",
                )[act % 3]
        return (f"{name} += i + {act};", f"r = r * 31 + {name};", f"if ({name} > i) {name}--;")[
            act % 3
        ]

    def begins(self, kind: str) -> int:
        """The offset of the first byte that the statement names."""
        match kind:
            case "struct s":
                return (0, 8, 0)[self.act % 3]
            case "struct t":
                return (0, 0, 12)[self.act % 3]
            case _ if "[" in kind:
                base, _, size = kind[:-1].partition("[")
                each = {"int": 4, "long": 8, "char": 1}[base]
                return (0, self.act % int(size) * each, 0)[self.act % 3]
        return 0


@dataclass(frozen=True)
class Written:
    """One version of a library."""

    variables: tuple[Variable, ...]
    functions: tuple[tuple[Use, ...], ...]
    constructed: frozenset[str] = frozenset()

    def named(self) -> dict[str, int]:
        """From which byte on each variable is known to the code: what is before, it never uses."""
        types = {v.name: v.type for v in self.variables}
        uses = [u for f in self.functions for u in f if u.variable in types]
        return {
            name: 0
            if name in self.constructed
            else min((u.begins(kind) for u in uses if u.variable == name), default=1 << 20)
            for name, kind in types.items()
        }

    @property
    def text(self) -> str:
        known = {v.name: v for v in self.variables}
        bodies = (
            f"{'' if n % 3 else 'static __attribute__((noinline)) '}long f{n}(int i)"
            f" {{ long r = i; {' '.join(u.text(known) for u in uses)} return r; }}\n"
            for n, uses in enumerate(self.functions)
        )
        calls = " + ".join(f"f{n}(i + {n})" for n in range(0, len(self.functions), 3))
        return (
            HEAD + "".join(v.declared for v in self.variables)
            + "".join(v.set for v in self.variables if v.name in self.constructed) + "".join(bodies)
            + f"long all(int i) {{ return {calls}; }}\n"
        )  # fmt: skip


def _use(chance: random.Random) -> Use:
    return Use(f"v{chance.randrange(24)}", chance.randrange(30))


def _made(chance: random.Random) -> Written:
    variables = tuple(
        Variable(f"v{n}", chance.choice(TYPES), chance.choice((0, 0, n + 1)),
                 chance.choice((1, 1, 1, 16))) for n in range(24)
    )  # fmt: skip
    functions = tuple(
        tuple(_use(chance) for _ in range(chance.randrange(1, 7))) for _ in range(30)
    )  # fmt: skip
    return Written(variables, functions)


def _changed(source: Written, chance: random.Random) -> Written:
    """What another version may do to it."""
    variables, functions = list(source.variables), [list(f) for f in source.functions]
    constructed = set(source.constructed)
    for number in range(chance.randrange(1, 5)):
        match chance.randrange(8):
            case 0:
                chance.shuffle(variables)
            case 1:
                variables.insert(
                    chance.randrange(len(variables)),
                    Variable(f"n{number}", chance.choice(TYPES), 0),
                )
                chance.choice(functions).insert(0, Use(f"n{number}", 3 * number))
            case 2:
                variables.pop(chance.randrange(len(variables)))
            case 3:
                at = chance.randrange(len(variables))
                variables[at] = replace(variables[at], type=chance.choice(TYPES))
            case 4:
                uses = chance.choice(functions)
                uses.insert(chance.randrange(len(uses) + 1), Use(f"v{chance.randrange(24)}", 7))
            case 5:
                uses = chance.choice(functions)
                uses.pop(chance.randrange(len(uses)))
            case _:  # a small one, that fits into what was padding
                variables.insert(
                    chance.randrange(len(variables)),
                    Variable(f"n{number}", chance.choice(("char", "short", "int")), 0),
                )
                if chance.randrange(2):
                    chance.choice(functions).append(Use(f"n{number}", number))
                constructed.add(f"n{number}")
    return Written(tuple(variables), tuple(tuple(f) for f in functions), frozenset(constructed))


class Truth:
    """Which variable the symbols say a byte belongs to."""

    def __init__(self, library: Path) -> None:
        objects = Library(Image.open(library)).objects
        self._known = sorted((s.value, s.value + s.size, n.name) for n, s in objects.items())

    def at(self, address: int) -> tuple[str, int] | None:
        index = bisect_right(self._known, (address, 1 << 64, "")) - 1
        if index < 0 or address >= self._known[index][1]:
            return None
        return self._known[index][2], address - self._known[index][0]


def _stripped(library: Path) -> Library:
    bare = library.with_suffix(".bare")
    shutil.copy(library, bare)
    subprocess.run(["strip", str(bare)], check=True)
    return Library(Image.open(bare))


def _counterparts(old: Path, new: Path) -> Nameless:
    one, other = _stripped(old), _stripped(new)
    return counterparts(
        Source(one.image), Source(other.image), nameless_ranges(one), nameless_ranges(other),
        seconds=60,
    )  # fmt: skip


def _wrong(
    found: Nameless, old: Path, new: Path, same: set[str], named: Sequence[dict[str, int]] = ()
) -> Iterator[str]:
    mine, its = Truth(old), Truth(new)
    for stretch in found.stretches:
        for at in range(stretch.size):
            places = mine.at(stretch.old + at), its.at(stretch.new + at)
            used = [p if p and p[1] >= n.get(p[0], 0) else None
                    for p, n in zip(places, named or ({}, {}), strict=True)]  # fmt: skip
            one, other = used
            if one != other or (one is not None and one[0] not in same):
                yield f"{one} went to {other}"


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_byte_goes_to_the_variable_that_it_came_from(compiler: Compiler, seed: int) -> None:
    chance = random.Random(seed)
    before = _made(chance)
    after = _changed(before, chance)
    flags = chance.choice((("-O2",), ("-O1",), ("-Os",), ("-O2", "-fno-toplevel-reorder")))
    old, new = (compiler.library(v.text, *flags) for v in (before, after))
    found = _counterparts(old, new)
    same = {v.name for v in before.variables} & {v.name for v in after.variables}
    types = [{v.name: v.type for v in s.variables} for s in (before, after)]
    kept = {n for n in same if types[0][n] == types[1][n]}
    assert not list(_wrong(found, old, new, kept, (before.named(), after.named())))
    assert sum(s.size for s in found.stretches) > 0


def test_what_was_padding_is_not_carried_onto_a_variable(compiler: Compiler) -> None:
    text = (
        "#include <string.h>\n"
        "static int a; static char buffer[12] __attribute__((aligned(8)));\n"
        "#if VERSION == 2\nstatic int fresh;\n#endif\n"
        "static void *p; static long z;\n"
        "void put(const char *s) { strncpy(buffer, s, sizeof buffer); a++; z += 3; p = buffer; }\n"
        "const char *got(void) { z++; return p; } long more(void) { return a + z; }\n"
        "#if VERSION == 2\n"
        "__attribute__((constructor)) static void set(void) { fresh = 7; }\n"
        "int told(void) { return fresh; }\n#endif\n"
    )
    old, new = (
        compiler.library(text, f"-DVERSION={v}", "-O2", "-fno-toplevel-reorder") for v in (1, 2)
    )
    found = _counterparts(old, new)
    assert not list(_wrong(found, old, new, {"a", "buffer", "p", "z"}))
    assert 12 in {s.size for s in found.stretches}
    assert "the new file has another thing there" in {d.why for d in found.doubts}


def test_the_same_file_is_paired_as_a_whole(compiler: Compiler) -> None:
    library = compiler.library(_made(random.Random(1)).text, "-O2")
    found = _counterparts(library, library)
    truth = Truth(library)
    covered = {truth.at(s.old + at) for s in found.stretches for at in range(s.size)}
    lost = {truth.at(d.old + at) for d in found.doubts for at in range(d.size)} - covered
    assert {name for name, _ in filter(None, lost)} <= {"completed.0", "__dso_handle"}
    assert all(s.old == s.new for s in found.stretches)
