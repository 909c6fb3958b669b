import pytest

from libswap.elf.image import Image
from libswap.live.entries import Entries
from libswap.live.library import Library
from libswap.live.pairing import Pairing, pair
from libswap.live.redirect import Redirects, redirects
from support.compiler import Compiler

pytestmark = pytest.mark.compiler


def _library(compiler: Compiler, source: str, *flags: str) -> Library:
    return Library(Image.open(compiler.library(source, "-O2", *flags)))


def _pair(compiler: Compiler, old: str, new: str, *flags: str) -> Pairing:
    return pair(_library(compiler, old, *flags), _library(compiler, new, *flags))


def _redirects(old: Library, new: Library) -> Redirects:
    return redirects(old, pair(old, new), Entries(old), Entries(new))


def _words(pairing: Pairing) -> set[str]:
    return {f.word for f in pairing.findings}


def test_functions_and_state_pair_by_name(compiler: Compiler) -> None:
    old = _library(compiler, "live/version.c", "-DVERSION=1")
    new = _library(compiler, "live/version.c", "-DVERSION=2")
    found = pair(old, new)
    new_at = {n.name: s.value for n, s in new.functions.items()}
    named = {label.rpartition(":")[2]: found.functions.get(at) for at, label in
             found.labels.items()}  # fmt: skip
    assert named["count"] == new_at["count"]
    assert named["local_add"] == new_at["local_add"]
    assert not found.gone
    assert [n.name for n in pair(new, old).gone] == ["only_new"]
    assert {o.name.rpartition(":")[2] for o in found.objects} == {
        "exported_count", "hidden_count", "method",
    }  # fmt: skip


def test_a_stripped_library_pairs_what_it_exports(compiler: Compiler) -> None:
    found = _pair(compiler, "int a = 1;\nint f(void) { return a; }\n",
                  "int a = 1;\nint f(void) { return a + 1; }\n", "-s")  # fmt: skip
    assert len(found.functions) == 1
    assert [o.name for o in found.objects] == ["a"]


def test_an_object_that_changed_its_size_is_refused(compiler: Compiler) -> None:
    found = _pair(compiler, "int a[4] = {1};\n", "int a[5] = {1};\n")
    assert _words(found) == {"state-resized"}


def test_two_functions_folded_into_one_are_not_told_apart(compiler: Compiler) -> None:
    old = 'int f(void) { return 1; }\nint g(void) __attribute__((alias("f")));\n'
    new = "int f(void) { return 1; }\nint g(void) { return 2; }\n"
    found = _pair(compiler, old, new)
    assert "folded" in _words(found)
    assert {f.name.name for f in found.forwards} == {"f", "g"}, "names still tell"


def test_versions_of_one_name_stay_apart(compiler: Compiler) -> None:
    source = (
        "int one(void) { return 1; }\nint two(void) { return 2; }\n"
        '__asm__(".symver one,f@A");\n__asm__(".symver two,f@@B");\n'
    )
    script = compiler.text("A { global: f; local: *; };\nB { global: f; } A;\n", ".map")
    library = _library(compiler, source, f"-Wl,--version-script={script}")
    found = pair(library, library)
    assert sorted(str(f.name) for f in found.forwards) == ["f@A", "f@B"]
    assert all(f.old == f.new for f in found.forwards)


def test_a_name_without_a_version_is_the_one_version_that_there_is_now(compiler: Compiler) -> None:
    source = "int f(void) { return 1; }\nint g(void) { return 2; }\n"
    map_ = compiler.text("A { global: f; g; };\n", ".map")
    versioned = _library(compiler, source, f"-Wl,--version-script={map_}")
    plain = _library(compiler, source)
    for one, other in ((plain, versioned), (versioned, plain)):
        found = pair(one, other)
        assert not found.gone
        assert sorted(f.name.name for f in found.forwards) == ["f", "g"]


def test_a_name_without_a_version_is_none_of_two_versions(compiler: Compiler) -> None:
    source = (
        "int one(void) { return 1; }\nint two(void) { return 2; }\n"
        '__asm__(".symver one,f@A");\n__asm__(".symver two,f@@B");\n'
    )
    script = compiler.text("A { global: f; local: *; };\nB { global: f; } A;\n", ".map")
    versioned = _library(compiler, source, f"-Wl,--version-script={script}")
    found = pair(_library(compiler, "int f(void) { return 1; }\n"), versioned)
    assert [n.name for n in found.gone] == ["f"]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("__thread int a;\nint f(void) { return a; }\n",
         "__thread int a;\nint f(void) { return a + 1; }\n", "tls-shared"),
        ("__thread int a;\nint f(void) { return a; }\n",
         "__thread int b, a;\nint f(void) { return a + b; }\n", "tls-layout"),
        ("__thread int a;\nint f(void) { return a; }\n", "int f(void) { return 1; }\n", "tls-gone"),
        ("int f(void) { return 1; }\n", "__thread int a;\nint f(void) { return a; }\n", "tls-new"),
    ],
)  # fmt: skip
def test_thread_local_state_is_never_lost_silently(
    compiler: Compiler, old: str, new: str, word: str
) -> None:
    assert word in _words(_pair(compiler, old, new))


def test_static_variables_of_functions_pair_although_gcc_numbers_them(compiler: Compiler) -> None:
    old = "int f(void) { static int n; return n++; }\n"
    new = "static int k(void) { static int m; return m++; }\n" + old + "int g(void) {return k();}\n"
    found = _pair(compiler, old, new)
    assert {o.name.rpartition(":")[2] for o in found.objects} == {"n"}


def test_exported_and_pointed_to_functions_are_redirected_and_no_others(
    compiler: Compiler,
) -> None:
    source = (
        "static __attribute__((noinline)) int called(int x) { return x * 3; }\n"
        "static int pointed(int x) { return x + 1; }\n"
        "int (*table[])(int) = {pointed};\n"
        "__attribute__((constructor)) static void begin(void) { table[0](1); }\n"
        "int f(int x) { return called(x) + called(x + 1); }\n"
    )
    library = _library(compiler, source)
    found = _redirects(library, library)
    assert {r.name.rpartition(":")[2] for r in found.redirects} == {"f", "pointed"}
    assert not found.kept


CALLS = """
#define FUNCTION(name, code) \\
    __asm__(".type " #name ",@function\\n" #name ": .cfi_startproc\\n" code \\
            "\\n.cfi_endproc\\n.size " #name ", . - " #name "\\n");
__asm__(".globl f\\n");
FUNCTION(f, CALLED)
FUNCTION(deeper, INSIDE)
FUNCTION(nameless, AROUND)
void nameless(void);
void (*give(void))(void) { return nameless; }
"""
OLD = '"endbr64; lea (%rdi,%rdi,2), %eax; ret"'
NEW = '"endbr64; lea (%rdi,%rdi,2), %eax; xor %edi, %edi; xor %esi, %esi; xor %r11d, %r11d; ret"'
ALIGNING = '"endbr64; movaps %xmm0, -24(%rsp); lea (%rdi,%rdi,2), %eax; ret"'
PLAIN = '"sub $8, %rsp; call f; add $8, %rsp; ret"'


@pytest.mark.parametrize(
    ("around", "called", "relies"),
    [
        (PLAIN, NEW, False),
        ('"jmp f"', NEW, False),
        ('"push %rbx; mov %edi, %ebx; call f; add %ebx, %eax; pop %rbx; ret"', NEW, False),
        ('"sub $8, %rsp; call f; add %edi, %eax; add $8, %rsp; ret"', NEW, True),
        ('"sub $8, %rsp; call f; test %eax, %eax; je 1f; add %esi, %eax; 1: add $8, %rsp; ret"',
         NEW, True),
        ('"sub $8, %rsp; call f; mov %edi, %esi; add $8, %rsp; ret"', NEW, True),
        ('"call f; ret"', ALIGNING, True),
        ('"sub $8, %rsp; call f; add $8, %rsp; jmp *%r11"', NEW, True),
        ('"sub $8, %rsp; call deeper; add $8, %rsp; ret"', NEW, False),
        ('"sub $8, %rsp; call deeper; add %esi, %eax; add $8, %rsp; ret"', NEW, True),
        ('"call f; ret"', NEW, False),
        (PLAIN, ALIGNING, False),
        ('"sub $8, %rsp; call f; add %edi, %eax; add $8, %rsp; ret"', OLD, False),
    ],
)  # fmt: skip
def test_nameless_code_that_calls_directly_is_a_risk_where_it_relies_on_its_callee(
    compiler: Compiler, around: str, called: str, *, relies: bool
) -> None:
    source = CALLS.replace("AROUND", around).replace("INSIDE", PLAIN)
    old, new = (source.replace("CALLED", body) for body in (OLD, called))
    one, other = (_library(compiler, text, "-s", "-Wl,-Bsymbolic") for text in (old, new))
    found = _redirects(one, other)
    assert len(found.kept) == 1 + ("deeper" in around)
    assert [f.word for f in found.findings] == ["internal-caller"] * relies


def test_a_function_without_room_is_left_alone(compiler: Compiler) -> None:
    source = '__asm__(".globl a\\n.type a,@function\\na: ret\\n.size a,1\\n");\nint f(void);\n'
    source += '__asm__(".globl f\\n.type f,@function\\nf: xor %eax,%eax\\nret\\n.size f,3\\n");\n'
    library = _library(compiler, source)
    found = _redirects(library, library)
    assert "a" not in {r.name for r in found.redirects}
    assert {(f.word, f.severity.value) for f in found.findings} == {("entry-too-short", "note")}


def test_static_variables_pair_although_their_source_file_was_renamed(compiler: Compiler) -> None:
    old = "static int n = 1;\nint count(void) { return ++n; }\n"
    new = '__asm__(".file \\"renamed.c\\"");\n' + old
    found = _pair(compiler, old, new)
    assert [o.name for o in found.objects] == ["source.c:n"]
    other = new.replace("int n = 1", "int m = 1").replace("++n", "++m")
    assert not _pair(compiler, old, other).objects
