"""Descriptions of handles: what is read, what is refused, and what is guessed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from libswap.errors.handles import HandlesInvalid, HandlesUnknown, PrototypesMissing
from libswap.errors.patch import CompilerFailed
from libswap.linux.memory import Range
from libswap.live.arch.x86_64_dispatch import Grounds, Wanted, dispatchers, room
from libswap.live.draining.anchors import Held, readable
from libswap.live.draining.handles import MOST_PLACES, Anchor, Place, Rule, When
from libswap.live.draining.reading import SHIPPED, description_for, descriptions, read
from libswap.live.module import LibraryCache
from libswap.operations.handles import drafted
from support.compiler import FIXTURES, Compiler

HEAD = 'format = 1\nlibraries = ["libx.so.1"]\n'
MAKER = '[[rule]]\nfunctions = ["f"]\ngives = "result"\ndoubled = true\n'


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "x.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("given", range(MOST_PLACES))
def test_the_dispatcher_of_the_largest_rule_has_room(given: int, *, ends: bool) -> None:
    far = tuple(Place(n + 1, (1 << 14, (1 << 14) + n, 1 << 14)) for n in range(MOST_PLACES))
    by = far[:1] if ends else far[given:]
    rules = [
        Rule(by, far[:given], ends, ends, borrowed=borrowed, stack=32, when=When.ZERO)
        for borrowed in (False, True)
    ]
    rules += [Rule(by, far[:1], ends, ends, parts=far[1:given], stack=32, when=When.ZERO)]
    rules += [Rule(by, far[:given], stack=32, when=When.ZERO, failure=-1)]
    code, new = Range(0x7F0000000000, 0x7F0000100000), Range(0x7F0020000000, 0x7F0020100000)
    for rule in rules:
        grounds = Grounds(code, code, code.start, new, 0x7F0030000000, doubles=True, tells=1 << 14)
        image, starts = dispatchers(grounds, [Wanted(rule, code.start, new.start)], code.start)
        assert starts[0] - code.start <= room([])
        assert code.start + len(image) - starts[0] <= room([rule]) - room([])


def test_every_shipped_description_is_understood() -> None:
    found = {d.name for d in descriptions((SHIPPED,))}
    wanted = {"zlib", "expat", "openssl", "sqlite3", "pcre2", "libevent", "zstd",
              "brotlienc", "brotlidec", "png", "nghttp2", "opus", "tasn1",
              "gcrypt", "lzma", "lz4", "yajl", "deflate", "pcap", "archive", "uv",
              "cares", "onig", "lcms2", "speexdsp", "fribidi", "mpfr", "popt", "xxhash",
              "seccomp", "jpeg", "openjp2", "json_c",
              "freetype", "htp", "microhttpd"}  # fmt: skip
    assert found >= wanted


def test_a_description_is_found_by_soname_and_files_go_first(
    written: Callable[[str], Path],
) -> None:
    assert description_for(["libz.so.1"]).name == "zlib"
    own = written(HEAD.replace("libx", "libz"))
    assert description_for(["libz.so.1"], [own]).name == "x"
    with pytest.raises(HandlesUnknown):
        description_for(["libnobody.so.1"])


def test_a_whole_name_goes_before_a_pattern_and_a_long_one_before_a_short_one(
    written: Callable[[str], Path],
) -> None:
    text = HEAD + (
        'plain = ["x_version", "x_*_name"]\n'
        '[[rule]]\nfunctions = ["x_*"]\nby = "arg1"\n'
        '[[rule]]\nfunctions = ["x_open"]\ngives = "arg2[0]"\nwhen = "zero"\n'
        '[[rule]]\nfunctions = ["x_close*"]\nby = "arg1[8]"\nends = true\n'
    )
    found = read(written(text))
    assert found.rule_for("x_use") == Rule(by=(Place(1),))
    assert found.rule_for("x_open") == Rule(gives=(Place(2, (0,)),), when=When.ZERO)
    assert found.rule_for("x_close_all") == Rule(by=(Place(1, (8,)),), ends=True)
    assert found.rule_for("x_version") == found.rule_for("x_error_name") == Rule()
    assert found.rule_for("y_use") is None


def test_anchors_and_what_is_borrowed(written: Callable[[str], Path]) -> None:
    text = HEAD + (
        '[[anchor]]\ntables = ["x_methods"]\nat = "x_get"\ncount = "x_up"\n'
        '[[rule]]\nfunctions = ["x_get"]\nby = "arg1"\ngives = "result"\nborrowed = true\n'
    )
    found = read(written(text))
    assert found.anchors == (Anchor(("x_methods",), "x_get", "x_up"),)
    assert found.rule_for("x_get") == Rule((Place(1),), (Place(0),), borrowed=True)


def test_functions_may_be_unfit_only_together(written: Callable[[str], Path]) -> None:
    found = read(written(HEAD + 'unfit = ["x_alone"]\ntogether = [["x_new*", "x_tell"]]'))
    assert found.unfit_among(["x_alone", "x_tell", "y"]) == {"x_alone"}
    assert found.unfit_among(["x_new", "x_new2", "y"]) == frozenset()
    assert found.unfit_among(["x_new", "x_new2", "x_tell", "y"]) == {"x_new", "x_new2", "x_tell"}


def test_values_are_no_objects(written: Callable[[str], Path]) -> None:
    assert read(written(HEAD + 'values = true\nplain = ["x_*"]')).values
    assert not read(written(HEAD + 'plain = ["x_*"]')).values
    everywhere = '[[rule]]\nfunctions = ["x_forget"]\ndoubled = true'
    assert read(written(HEAD + "values = true\n" + everywhere)).values


ANCHORED = """
struct x { long version; const void *methods; int before[VERSION], count; };
static const long table[4] = {1}, other[4] = {2};
long made_in_the_constructor;
const void *x_methods(void) { return table; }
const void *x_others(void) { return made_in_the_constructor ? table : other; }
const void *x_get(const struct x *x) { return x->methods; }
int x_up(struct x *x) { return __atomic_add_fetch(&x->count, 1, __ATOMIC_RELAXED) > 1; }
int x_up_unlocked(struct x *x) { return ++x->count; }
"""


@pytest.mark.compiler
def test_where_anchors_hold_what_is_read_from_code(compiler: Compiler) -> None:
    for version, count in ((1, 20), (7, 44)):
        path = compiler.library(ANCHORED, "-O2", f"-DVERSION={version}", "-fcf-protection")
        library = LibraryCache().open(str(path))
        held = Held.of(Anchor(("x_methods", "x_gone"), "x_get", "x_up"), library)
        assert held is not None
        assert (held.at, held.count, len(held.tables)) == (8, count, 1)
        for unread in (
            Anchor(("x_others",), "x_get", "x_up"),
            Anchor(("x_methods",), "x_methods", "x_up"),
            Anchor(("x_methods",), "x_get", "x_up_unlocked"),
            Anchor(("x_methods",), "x_get", "x_gone"),
        ):
            assert not readable(library, [unread])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "format must be 1"),
        ("format = 2", "format must be 1"),
        ("format = true", "format must be 1"),
        ("format = 1", "at least one soname"),
        ('format = 1\nlibraries = ["a/b"]', "is no name"),
        (HEAD + "unknown = 1", "not known: unknown"),
        (HEAD + "fresh = 1", "true or false"),
        (HEAD + "linked = [[1]]", "pairs of offsets"),
        (HEAD + "tells = true", "offset in every object"),
        (HEAD + "tells = 99999", "offset in every object"),
        (HEAD + "linked = [[true, 0]]", "pairs of offsets"),
        (HEAD + 'plain = ["a", "a"]', "stands in it twice"),
        (HEAD + 'plain = ["a*b*"]', "is no name"),
        (HEAD + "rule = 1", "must be tables"),
        (HEAD + "anchor = 1", "must be tables"),
        (HEAD + '[[anchor]]\ntables = ["f"]\nat = "g"', "tables, at and count"),
        (HEAD + '[[anchor]]\nof = "f"', "not known: of"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\ngives = "result"\nborrowed = true', "by an object"),
        (HEAD + 'together = [["f"]]', "at least two"),
        (HEAD + 'together = ["f"]', "list of names"),
        (
            HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nlent = true',
            "belongs to what is borrowed",
        ),
        (
            HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nends = true\nborrowed = true',
            "by nobody",
        ),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nfailure = 1', "several places"),
        (
            HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\ndoubled = "arg1 > 1"',
            "doubled must be like",
        ),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nparts = "result"', "that it gives"),
        (HEAD + f'[[rule]]\nfunctions = ["f"]\nby = {["arg1"] * 9}', "more than 8 places"),
        (HEAD + '[[rule]]\nby = "arg1"', "without functions"),
        (HEAD + '[[rule]]\nfunctions = ["f"]', "neither by nor gives"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg13"', "first 12 arguments"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "result"', "not there yet"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "rdi"', "is no place"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1[1][2][3][4]"', "too many pointers"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1[99999]"', "too far"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = ["arg1", "arg2"]\nends = true', "one place"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\ncounted = true', "belongs to ends"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nwhen = "never"', "one of always"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nstack = 99', "at most 32"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1[0]"\ndoubled = true', "in registers"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg7"\ndoubled = true', "in registers"),
        (
            HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nends = true\nwhen = "zero"\n'
            "doubled = true",
            "end without conditions",
        ),
        (HEAD + 'values = true\n[[rule]]\nfunctions = ["f"]\nby = "arg1"', "no objects"),
        (HEAD + 'values = true\n[[rule]]\nfunctions = ["f"]\ngives = "result"', "no objects"),
        (HEAD + '[[rule]]\nfunctions = ["f"]\nby = "arg1"\nundone = "g"', "doubled and gives"),
        (HEAD + MAKER + 'undone = "f*"', "name of a function"),
        (HEAD + MAKER + 'undone = "g"', "doubled function that ends"),
        (HEAD + MAKER + 'undone = "f"', "doubled function that ends"),
        ("[[" * 4000, ""),
        ("x = " + "[" * 90_000, ""),
        ("a" + ".a" * 90_000 + " = 1", "dots"),
        ("#" * (1 << 19), "more than"),
        ("format = 1\nformat = 1", ""),
    ],
)
def test_what_is_not_understood_is_refused(
    written: Callable[[str], Path], text: str, said: str
) -> None:
    with pytest.raises(HandlesInvalid) as caught:
        read(written(text))
    assert said in caught.value.message


@pytest.mark.compiler
def test_a_draft_is_guessed_from_debug_information(
    compiler: Compiler, written: Callable[[str], Path]
) -> None:
    flags = ("-DVERSION=1", f"-I{FIXTURES / 'drain'}")
    library = compiler.library("drain/objects.c", "-g", *flags, soname="libobjects.so")
    draft = drafted(library)
    assert draft.handles == ("struct object *",)
    found, known = read(written(draft.toml)), read(FIXTURES / "drain/objects.toml")
    for name in ("object_new", "object_open", "object_child", "object_copy", "object_step",
                 "object_sum", "object_close", "object_free", "object_version"):  # fmt: skip
        assert found.rule_for(name) == known.rule_for(name), name
    assert found.rule_for("object_attach") is None, "what a structure holds is not guessed"
    assert "#   object_attach(struct holder *, long int)" in draft.toml
    with pytest.raises(PrototypesMissing):
        drafted(compiler.library("drain/objects.c", "-s", *flags))


@pytest.mark.compiler
def test_a_draft_is_guessed_from_headers(
    compiler: Compiler, written: Callable[[str], Path], tmp_path: Path
) -> None:
    flags = ("-DVERSION=1", f"-I{FIXTURES / 'drain'}", "-s", "-DOLDER")
    library = compiler.library("drain/objects.c", *flags, soname="libobjects.so")
    draft = drafted(library, [FIXTURES / "drain/objects.h"])
    assert draft.handles == ("struct object *",)
    found, known = read(written(draft.toml)), read(FIXTURES / "drain/objects.toml")
    for name in ("object_new", "object_open", "object_child", "object_step", "object_close",
                 "object_free", "object_version"):  # fmt: skip
        assert found.rule_for(name) == known.rule_for(name), name
    assert found.rule_for("object_attach") is None
    assert found.rule_for("object_outdated") == Rule(private=True), "no header has it"
    header = tmp_path / "x.h"
    header.write_text("struct object *object_new(void) nonsense;")
    with pytest.raises(CompilerFailed) as caught:
        drafted(library, [header])
    assert "nonsense" in caught.value.said


NAMED = """
#include <stdlib.h>
typedef unsigned long number;
typedef struct thing *Thing;
typedef struct { long at; } place;
number number_of(number a) { return a + 1; }
Thing thing_make(void) { return malloc(8); }
number thing_use(const struct thing *t) { return t != NULL; }
place *place_make(void) { return calloc(1, sizeof(place)); }
void place_free(place *p) { free(p); }
void drop_free_place(place *p) { free(p); }
void anything(void *what) { free(what); }
"""


@pytest.mark.compiler
def test_a_draft_goes_by_types_and_not_by_their_names(
    compiler: Compiler, written: Callable[[str], Path]
) -> None:
    draft = drafted(compiler.library(NAMED, "-g", soname="libthing.so.1"))
    assert draft.handles == ("struct place *", "struct thing *")
    found = read(written(draft.toml))
    assert found.rule_for("number_of") == Rule()
    assert found.rule_for("thing_make") == Rule(gives=(Place(0),))
    assert found.rule_for("thing_use") == Rule(by=(Place(1),))
    assert found.rule_for("place_free") == Rule(by=(Place(1),), ends=True)
    assert found.rule_for("drop_free_place") == Rule(by=(Place(1),), ends=True)
    assert found.rule_for("anything") is None


PAIRED = """
#include <stdlib.h>
typedef struct reader reader;
typedef struct info info;
reader *paired_reader_new(void) { return malloc(8); }
info *paired_info_new(reader *r) { return malloc(r ? 8 : 16); }
int paired_read(reader *r, info *i) { return r && i; }
void paired_destroy_both(reader **r, info **i) { free(*r), free(*i); *r = NULL, *i = NULL; }
void paired_free_part(reader *r, int part) { (void)r, (void)part; }
void pairedFreeInfo(info *i) { free(i); }
int paired_delete(info **i, int flags) { free(*i); *i = NULL; return flags; }
void paired_info_del(info *i) { free(i); }
"""


@pytest.mark.compiler
def test_a_draft_knows_ends_by_words_and_names_what_takes_several_objects(
    compiler: Compiler, written: Callable[[str], Path]
) -> None:
    draft = drafted(compiler.library(PAIRED, "-g", soname="libpaired.so.1"))
    found = read(written(draft.toml))
    assert found.rule_for("pairedFreeInfo") == Rule((Place(1),), ends=True)
    assert found.rule_for("paired_info_del") == Rule((Place(1),), ends=True)
    assert found.rule_for("paired_free_part") == Rule((Place(1),))
    assert found.rule_for("paired_destroy_both") == Rule((Place(1, (0,)),), ends=True)
    assert found.rule_for("paired_delete") == Rule((Place(1, (0,)),), ends=True, when=When.ZERO)
    assert "#   paired_read(struct reader *, struct info *)" in draft.toml
    assert "paired_destroy_both(" not in draft.toml


def test_a_fifo_is_no_description_and_nobody_waits_for_it(tmp_path: Path) -> None:
    fifo = tmp_path / "waits.toml"
    os.mkfifo(fifo)
    with pytest.raises(HandlesInvalid, match="no regular file"):
        read(fifo)
