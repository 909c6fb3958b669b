"""Changes of which rules say that nothing moved, each beside one where something did."""

from collections.abc import Callable

import pytest

from libswap.live.module import LibraryCache
from libswap.operations.survival import Survival, Verdict, survival, survival_of_objects
from libswap.operations.survival.nameless import finder
from libswap.survival.evidence import Weight
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

DEVICE = """
struct device {{ {head} void *more[2]; void *last; long rest[4]; }};
#include <string.h>
void keep(long);
void reset(struct device *d) {{ {reset} d->more[0] = d; d->more[1] = d->more[0]; }}
"""
OLD = "int fd; char known;"
USES = "d->fd++; d->known++;"


def judged(compiler: Compiler, old: str, new: str, *flags: str) -> Survival:
    cache = LibraryCache(finder=finder())
    before, after = (compiler.library(text, "-O2", *flags) for text in (old, new))
    return survival(cache.open(str(before)), cache.open(str(after)))


def kinds(found: Survival) -> set[tuple[str, Weight]]:
    return {(e.kind, e.weight) for e in found.evidence if e.weight in (Weight.DANGER, Weight.DOUBT)}


def of_its_data(found: Survival) -> list[tuple[Weight, str]]:
    """What is said of data that is not carried over, in short."""
    wanted = (Weight.DOUBT, Weight.CONDITION)
    return [(e.weight, e.new.split(":")[0]) for e in found.evidence if e.weight in wanted]


ALIKE = (Weight.CONDITION, "must be as it began, or --state carry takes it over as a whole")
AS_IT_BEGAN = (Weight.CONDITION, "must be as it began")
WRITTEN = (Weight.DOUBT, "not carried, and code writes to it")


def device(head: str, reset: str) -> str:
    return DEVICE.format(head=head, reset=reset)


def test_fields_that_were_written_at_once_did_not_move(compiler: Compiler) -> None:
    old = device(OLD, f"long all; memcpy(&all, d, 8); keep(all); {USES}")
    new = device(OLD, f"{USES} keep((long)d->last);")
    found = judged(compiler, old, new, "-O1")
    assert found.verdict is Verdict.LIKELY, found


def test_a_field_whose_place_another_took_did_move(compiler: Compiler) -> None:
    old = device("void *name;", "keep((long)d->name);")
    new = device(OLD, f"{USES} keep((long)d->last);")
    found = judged(compiler, old, new, "-O1")
    assert ("field-moved", Weight.DOUBT) in kinds(found), found


COUNT = "{more}\nstatic long count = 5; long bump(void) {{ return count = {how}; }}"


TABLE = """int atoi(const char *); {more}
static int (*table[])(const char *) = {{atoi, atoi}};
int pick(const char *s, long i)
{{
    int (**row)(const char *) = table;
    __asm__("" : "+r"(row));
    return row[{how}](s);
}}
"""
BEFORE = "static long before[40] = {7}; long other(int i) { return before[3] += i; }"


@pytest.mark.parametrize(
    ("source", "how", "more", "said"),
    [
        (COUNT, "count * 3 + count % 7", "", ALIKE),
        (COUNT, "count * 3 + count % 7", BEFORE, WRITTEN),
        (TABLE, "i > 5 ? i & 1 : 0", BEFORE, AS_IT_BEGAN),
    ],
    ids=["laid out alike", "that code writes to", "that begins as a table"],
)
def test_data_that_cannot_be_carried_is_a_doubt_only_where_code_writes_to_it(
    compiler: Compiler, source: str, how: str, more: str, said: tuple[Weight, str]
) -> None:
    old = source.format(more="", how="count + 1" if source is COUNT else "i & 1")
    new = source.format(more=more, how=how)
    assert of_its_data(judged(compiler, old, new, "-Wl,-s")) == [said]


TIMER = """
struct timer {{ long (*fire)(struct timer *); long at; }};
static long count = 5;
{begin}
static long fire(struct timer *t) {{ return {how}; }}
void timer_set(struct timer *t) {{ {keep} }}
long timer_count(int i) {{ return count {more} i; }}
"""
BEGINS = (
    "int getpid(void); __attribute__((constructor)) static void begin(void) { count = getpid(); }"
)
ANEW = "t->at ? count * 3 + t->at % 7 - (t->at ^ count) : t->at * count"


@pytest.mark.parametrize(
    ("keep", "begin", "said"),
    [
        ("t->fire = fire;", BEGINS, WRITTEN),
        ("t->fire = fire;", "", AS_IT_BEGAN),
        ("t->at = fire(t);", BEGINS, ALIKE),
    ],
    ids=["kept by objects", "that may be as it began", "only called"],
)
def test_data_that_old_code_goes_on_to_use_cannot_be_carried_as_a_whole(
    compiler: Compiler, keep: str, begin: str, said: tuple[Weight, str]
) -> None:
    old = TIMER.format(keep=keep, begin=begin, how="count += t->at", more="+")
    new = TIMER.format(keep=keep, begin=begin, how=f"count = {ANEW}", more="* 3 -")
    assert of_its_data(judged(compiler, old, new, "-Wl,-s")) == [said]


THING = """
extern void *(*their_malloc)(unsigned long);
struct thing {{ long a, b{member}; }};
struct other {{ long a, b, c; }};
static __attribute__((noinline)) struct thing *make(long i)
{{
    struct thing *t = their_malloc(sizeof *t);
    {how}
    return t;
}}
struct thing *{name}(long i) {{ return make(i * 2); }}
struct thing *thing_of_two(long i, long k) {{ {two} }}
struct other *other_new(void) {{ return their_malloc(sizeof(struct other) * 4); }}
"""
GROWN = {"member": ", c", "name": "thing_new"}
CHANGED = {
    "how": "t->a = i % 3; t->b = i ? t->a * i : i / 5; if (t->b > 9) t->a ^= i;",
    "two": "return k > 7 ? make(k * k) : make(i - 1);",
}
KEPT = {"how": "t->a = t->b = i;", "two": "return make(i + k);"}


@pytest.mark.parametrize(
    ("new", "weights"),
    [
        ({**KEPT, **GROWN}, {Weight.DANGER, Weight.DOUBT}),
        ({**CHANGED, **GROWN, "name": "thing_renamed"}, {Weight.DOUBT}),
        ({**CHANGED, "member": "", "name": "thing_renamed"}, set()),
    ],
    ids=["the same function", "none that is the same", "of the same size"],
)
def test_a_size_is_seen_where_the_allocator_is_a_variable(
    compiler: Compiler, new: dict[str, str], weights: set[Weight]
) -> None:
    old = THING.format(member="", name="thing_new", **KEPT)
    found = kinds(judged(compiler, old, THING.format(**new), "-Wl,-s"))
    assert {weight for kind, weight in found if kind == "size-changed"} == weights


CHOICE = """
int getpid(void);
static int one(int i) {{ return i + 1; }}
static int two(int i) {{ return i * 2; }}
static {kind};
__attribute__((constructor)) static void choose(void)
{{
    chosen = getpid() ? {values};
}}
int run(int i) {{ return {run}; }}
{more}
"""
POINTER = {"kind": "int (*chosen)(int)", "values": "one : two"}
NUMBER = {"kind": "long chosen", "values": "77 : 88"}
CALLS = ({**POINTER, "run": "chosen(i)"}, {**POINTER, "run": "chosen(i * 3) + 1"})
SEEDS = ({**NUMBER, "run": "chosen + i"}, {**NUMBER, "run": "chosen * i ^ 9"})
LATER = "void choose_again(int i) { chosen = i ? one : two; }"


@pytest.mark.parametrize(
    ("versions", "more", "expected"),
    [(CALLS, "", []), (CALLS, LATER, [WRITTEN]), (SEEDS, "", [WRITTEN])],
    ids=["a choice", "one that changes", "a number"],
)
def test_a_choice_that_constructors_make_is_made_by_each_copy(
    compiler: Compiler, versions: tuple[dict[str, str], ...], more: str,
    expected: list[tuple[Weight, str]],
) -> None:  # fmt: skip
    old, new = (CHOICE.format(more=more, **parts) for parts in versions)
    assert of_its_data(judged(compiler, old, new + BEFORE, "-Wl,-s")) == expected


READER = """
struct reader {{ int (*next)(struct reader *); long left, got; }};
void *malloc(unsigned long);
static int step(struct reader *r) {{ {step} }}
struct reader *reader_open(long count)
{{
    struct reader *r = malloc(sizeof *r);
    r->left = count, r->got = 0, r->next = step;
    return r;
}}
long reader_read(struct reader *r) {{ int s; {loop} }}
"""
ENDS_WITH_1 = "if (!r->left) return 1; r->left--; return 0;"
ENDS_WITH_0 = "if (!r->left) return 0; r->left--; return 1;"
KNOWS_1 = "while (!(s = r->next(r))) r->got++; return s == 1 ? r->got : -1;"
TAKES_ALL = "while (!(s = r->next(r))) r->got++; return s > 0 ? r->got : -1;"
KNOWS_0 = "while ((s = r->next(r)) > 0) r->got++; return s ? -1 : r->got;"


@pytest.mark.parametrize(
    ("step", "loop", "verdict"),
    [(ENDS_WITH_0, KNOWS_0, Verdict.UNKNOWN), (ENDS_WITH_1, TAKES_ALL, Verdict.LIKELY)],
    ids=["another meaning", "the same function"],
)
@pytest.mark.parametrize("of", [survival, survival_of_objects])
def test_a_function_that_objects_keep_must_mean_the_same(
    compiler: Compiler, step: str, loop: str, verdict: Verdict, of: Callable[..., Survival]
) -> None:
    old, new = (
        compiler.library(READER.format(step=s, loop=code), "-O2", "-Wl,-s")
        for s, code in ((ENDS_WITH_1, KNOWS_1), (step, loop))
    )
    found = of(*(LibraryCache(finder=finder()).open(str(path)) for path in (old, new)))
    assert found.verdict is verdict, found
    doubts = {("kept-function", Weight.DOUBT)} if verdict is Verdict.UNKNOWN else set()
    assert kinds(found) == doubts


def test_a_kept_function_is_named_with_its_field(compiler: Compiler) -> None:
    old = READER.format(step=ENDS_WITH_1, loop=KNOWS_1)
    new = READER.format(step=ENDS_WITH_0, loop=KNOWS_0)
    [doubt] = (e for e in judged(compiler, old, new, "-Wl,-s").evidence
               if e.weight is Weight.DOUBT)  # fmt: skip
    assert doubt.subject.startswith("the function at 0x")
    assert (doubt.old, doubt.new) == (
        "objects keep it at 0, callers compare its result with 1", "with no number"
    )  # fmt: skip


NODES = """
#include <string.h>
struct node {{ struct node *next; long hash; {more} char key[]; }};
struct set {{ long count; struct node **rows; long mask; }};
static struct node *find(struct set *s, const char *key, long hash)
{{
    for (struct node *n = s->rows[hash & s->mask]; n; n = n->next)
        if (n->hash == hash && {same})
            return n;
    return 0;
}}
int set_has(struct set *s, const char *key, long hash) {{ return !!find(s, key, hash); }}
long set_take(struct set *s, const char *key, long hash)
{{
    struct node *n = find(s, key, hash);
    return n ? s->count-- : 0;
}}
"""
COMPARED = "!strcmp(n->key, key)"
COUNTED = "n->size == strlen(key) && !memcmp(n->key, key, n->size)"


@pytest.mark.parametrize(
    ("more", "same", "verdict"),
    [("unsigned long size;", COUNTED, Verdict.UNSAFE), ("", f"*key && {COMPARED}", Verdict.LIKELY)],
    ids=["moved", "another test"],
)
def test_a_string_within_the_nodes_of_a_list_that_moved_is_seen(
    compiler: Compiler, more: str, same: str, verdict: Verdict
) -> None:
    flags = "-Wl,-s", "-fno-inline"
    old, new = NODES.format(more="", same=COMPARED), NODES.format(more=more, same=same)
    found = judged(compiler, old, new, *flags)
    assert found.verdict is verdict, found
    told = {(e.old.split(" → ")[-1], e.new.split(" → ")[-1]) for e in found.evidence}
    assert (("the address of 16", "the address of 24") in told) is (verdict is Verdict.UNSAFE)


CONFIG = """
struct config {{ long flags[70]; int level; {more} long last; }};
struct request {{ struct config *config; long headers, bytes; }};
int request_header(struct request *r, long size)
{{
    r->headers++, r->bytes += size;
    return {limit} r->config->flags[3] > r->config->last;
}}
int request_line(struct request *r, long size)
{{
    r->bytes += size;
    return {limit} r->config->level > 2;
}}
"""
LIMIT = "r->headers > r->config->most ||"


@pytest.mark.parametrize(
    ("more", "limit", "doubts"),
    [("int most;", LIMIT, {("field-new", Weight.DOUBT)}), ("", "r->headers > 100 ||", set())],
    ids=["a field in the padding", "a number"],
)
def test_a_field_where_there_was_padding_is_a_doubt(
    compiler: Compiler, more: str, limit: str, doubts: set[tuple[str, Weight]]
) -> None:
    old, new = CONFIG.format(more="", limit=""), CONFIG.format(more=more, limit=limit)
    assert kinds(judged(compiler, old, new)) == doubts
