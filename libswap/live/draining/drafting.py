"""A first description of a library's handles, guessed from what its functions take and return.

By the types of DWARF and by names as C libraries use them. What it cannot see: objects that a
structure of the program holds, objects that callbacks hand out, and what a result means.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.live.draining.handles import IN_REGISTERS, Place, Rule, When

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ENDS: Final = frozenset(
    {"free", "destroy", "delete", "del", "close", "dispose", "release", "unref"}
)
_ENDS_AT_LAST: Final = _ENDS | {"finalize", "finish", "end"}
_COUNTED: Final = re.compile(r"(?:_|[a-z])(?:[Uu]nref|[Rr]elease|[Pp]ut)$")
_OBJECT: Final = re.compile(r"(?:struct|union) (?!_IO_FILE\b)[^*]+ \*")
_ANYTHING: Final = re.compile(r"(?:(?:struct|union) [^*]+|void)(?: \*)+")
"""What may be, or hold, an object."""
_STRANGE: Final = re.compile(r"[^\w *(),$.]")
_FLOATING: Final = re.compile(r"(?:long )?(?:float|double)")


@dataclass(frozen=True, slots=True)
class Function:
    """A function as its declaration says.

    Attributes:
        returns: size and type of the result.
        parameters: likewise of the parameters, in order.
    """

    name: str
    returns: tuple[int, str]
    parameters: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(kind for _, kind in self.parameters)})"

    @property
    def words(self) -> list[tuple[int, str]]:
        """The parameters that are words, each with its number."""
        kept = [kind for size, kind in self.parameters
                if size <= 8 and not _FLOATING.fullmatch(kind)]  # fmt: skip
        return list(enumerate(kept, 1))

    @property
    def may_take_objects(self) -> bool:
        """Whether something that it takes may hold an object, or be one."""
        return any(_ANYTHING.fullmatch(kind) for _, kind in self.words)

    @property
    def doubtful(self) -> bool:
        """Whether structures by value make the numbers of its arguments uncertain."""
        return any(size > 8 and not _FLOATING.fullmatch(kind) for size, kind in self.parameters)


def handle_types(functions: Iterable[Function]) -> frozenset[str]:
    """Types of pointers that some functions hand out and others take."""
    given: set[str] = set()
    taken: set[str] = set()
    for function in functions:
        given.add(function.returns[1])
        for _, kind in function.words:
            taken.add(kind)
            if kind.endswith("* *"):
                given.add(kind.removesuffix(" *"))
    return frozenset(t for t in given & taken if _OBJECT.fullmatch(t))


def rules(functions: Iterable[Function], handles: frozenset[str]) -> Mapping[str, Rule]:
    """What each function seems to do; those that take something else that may be one are left out.

    For to say of one of these that it takes no object would give old ones to new code.
    """
    found = {f: _rule(f, handles) for f in functions}
    return {f.name: rule for f, rule in found.items() if rule != Rule() or not f.may_take_objects}


def _rule(function: Function, handles: frozenset[str]) -> Rule:
    taken = [Place(n) for n, kind in function.words if kind in handles and n <= IN_REGISTERS]
    gives = [Place(0)] if function.returns[1] in handles else []
    out = [Place(n, (0,)) for n, kind in function.words
           if _holds(kind, handles) and n <= IN_REGISTERS]  # fmt: skip
    ends = not gives and bool(taken) != bool(out) and _ends(function, handles)
    if ends and out:  # by where the program holds it, to be set to null
        taken, out = out, []
    when = When.ZERO if out and function.returns[0] == 4 else When.ALWAYS
    counted = ends and bool(_COUNTED.search(function.name))
    stack = max(0, len(function.words) - IN_REGISTERS) if gives or out or ends else 0
    by = tuple(taken[:1])
    if ends and function.returns[0] == 4:
        when = When.ZERO
    return Rule(by, (*gives, *out), ends, counted, when, stack)


def _holds(kind: str, handles: frozenset[str]) -> bool:
    """Whether it points to where a handle is, or is to be."""
    return kind not in handles and kind.endswith(" *") and kind.removesuffix(" *") in handles


def _ends(function: Function, handles: frozenset[str]) -> bool:
    """Whether its name says so: `x_free`, or `x_free_parts` where it takes nothing but handles."""
    words = [word.lower() for word in _WORD.findall(function.name)]
    only = all(kind in handles or _holds(kind, handles) for _, kind in function.words)
    return bool(words) and (
        words[-1] in _ENDS_AT_LAST or (only and not _ENDS.isdisjoint(words))
    )  # fmt: skip


def meetings(functions: Iterable[Function], handles: frozenset[str]) -> tuple[Function, ...]:
    """Those that take several objects, which may have been made apart."""
    return tuple(
        f for f in functions
        if sum(kind in handles for _, kind in f.words) > 1 and not _ends(f, handles)
    )  # fmt: skip


def as_toml(
    soname: str,
    functions: Sequence[Function],
    handles: frozenset[str],
    internal: Sequence[str] = (),
) -> str:
    """The description as a file, with what a person has to look at.

    Args:
        soname: of the library.
        functions: as they are declared.
        handles: types that are taken for handles.
        internal: exported functions that no header declares.
    """
    found = rules(functions, handles)
    lines = [
        "# A draft, made from types and names: check every line. Not seen: objects that a",
        "# structure of the program holds (arg1[56]), objects that callbacks hand out (unfit),",
        "# functions in which objects that were made apart meet (unfit), and results that mean",
        "# something else than 0 for done.",
        "format = 1",
        f"libraries = [{json.dumps(soname)}]",
        "# pointers = true # if every object holds an address in the library while it lives",
    ]
    doubts = sorted(_STRANGE.sub("?", f.name) for f in functions if f.doubtful)
    if doubts:
        lines.append(f"# structures by value: count the arguments of {', '.join(doubts)}")
    together = sorted(_STRANGE.sub("?", str(f)) for f in meetings(functions, handles))
    if together:
        lines.append("# Given several objects, which are unfit if they are made apart, or doubled:")
        lines += [f"#   {text}" for text in together]
    undecided = sorted(_STRANGE.sub("?", str(f)) for f in functions if f.name not in found)
    if undecided:
        lines.append("# Without a rule, and drain-undescribed until they have one, for what they")
        lines += ["# take may hold an object:", *(f"#   {text}" for text in undecided)]
    if internal:
        lines.append("# In none of the headers: taken for the library's own affair")
        lines += ["private = [", *(f"  {json.dumps(n)}," for n in internal), "]"]
    by_rule: dict[Rule, list[str]] = {}
    for name, rule in sorted(found.items()):
        by_rule.setdefault(rule, []).append(name)
    lines += ["plain = [", *(f"  {json.dumps(n)}," for n in by_rule.pop(Rule(), [])), "]"]
    for rule, names in sorted(by_rule.items(), key=lambda item: (item[0].kind, str(item[0]))):
        lines += ["", "[[rule]]", "functions = [", *(f"  {json.dumps(n)}," for n in names), "]"]
        lines += _keys(rule)
    return "\n".join(lines) + "\n"


def _keys(rule: Rule) -> list[str]:
    lines = [f"{key} = {_list(places)}" for key, places in (("by", rule.by), ("gives", rule.gives))
             if places]  # fmt: skip
    lines += [f"{key} = true" for key in ("ends", "counted") if getattr(rule, key)]
    if rule.when is not When.ALWAYS:
        lines.append(f'when = "{rule.when}"')
    if rule.stack:
        lines.append(f"stack = {min(rule.stack, 32)}")
    return lines


def _list(places: tuple[Place, ...]) -> str:
    texts = [f'"{place}"' for place in places]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
