"""What a library's functions do with the objects that it makes: who gets, gives and ends a handle.

A handle is the word by which a program speaks of an object, mostly its address. Where it is found
at a call is a `Place`; what one function does with it is a `Rule`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

IN_REGISTERS: Final = 6
"""So many arguments are in registers, the others on the stack (System V ABI 3.2.3)."""
MOST_ARGUMENTS: Final = 12
MOST_PLACES: Final = 8
"""Of one rule, so that its dispatcher has room."""
RESULT: Final = 0
"""The number of a `Place` that begins with what the function returns."""


class When(StrEnum):
    """For which results of a function it has made, or ended, an object."""

    ALWAYS = "always"
    ZERO = "zero"
    NONZERO = "nonzero"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Place:
    """Where a handle is found at a call.

    Attributes:
        argument: the number of an argument, from 1, or `RESULT`.
        offsets: each one is added to the word, and the word there is taken: `arg1[56]` is what a
            structure holds that the first argument points to.
    """

    argument: int
    offsets: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = f"arg{self.argument}" if self.argument else "result"
        return name + "".join(f"[{offset}]" for offset in self.offsets)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a function does.

    Attributes:
        by: where handles are: the new copy runs it if one of them is an object of its own, else
            the old one. None: a function without a handle, which the new copy runs.
        gives: where handles of objects are afterwards that it has made or handed out.
        ends: whether the object of `by` is gone afterwards.
        counted: whether it only may be gone: the library counts references.
        borrowed: whether what it gives, or takes where it gives nothing, belongs to another object
            and goes with that.
        lent: whether what is borrowed is never the program's own, even if it was met before.
        parts: where objects are afterwards that are parts of what it gives, and go with that.
        when: for which results `gives` and `ends` hold.
        stack: words of further arguments on the stack, for functions that give or end.
        private: only the library itself calls it, so that its entry stays as it is.
        doubled: whether the old copy does the same with doubles of the new objects, which take
            their place where they meet old ones.
        failure: what it returns where objects of both copies meet and one of these has no double;
            None: without doubles nobody looks whether they do.
        undone: the function that ends, as its first argument, the double of an object that only the
            old copy could make.
        only: the number of an argument and its value, as an `int`, for which `gives` holds.
        twice: likewise, as a word, for which it is doubled; None: it always is.
    """

    by: tuple[Place, ...] = ()
    gives: tuple[Place, ...] = ()
    ends: bool = False
    counted: bool = False
    when: When = When.ALWAYS
    stack: int = 0
    private: bool = False
    borrowed: bool = False
    lent: bool = False
    doubled: bool = False
    failure: int | None = None
    only: tuple[int, int] | None = None
    twice: tuple[int, int] | None = None
    parts: tuple[Place, ...] = ()
    undone: str = ""

    @property
    def copied(self) -> int:
        """Words on the stack that a call hands on."""
        last = max((p.argument for p in (*self.by, *self.gives, *self.parts)), default=0)
        return max(self.stack, last - IN_REGISTERS)

    @property
    def framed(self) -> bool:
        """Whether there is something to do before it is called, or when it has come back."""
        return bool(self.gives) or self.ends or self.doubled or self.failure is not None

    @property
    def kind(self) -> str:
        """In one word, for people."""
        if self.ends:
            return "ends"
        if self.gives:
            return "derives" if self.by else "makes"
        return "uses" if self.by else "plain"


ASK_ALL: Final = Rule(by=tuple(Place(n) for n in range(1, IN_REGISTERS + 1)))
"""For a function of which nothing is known: any argument may be a handle; else the old one runs."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A kind of objects that every other object of the library holds one of. Names of functions.

    Attributes:
        tables: without arguments, each returns the address of a constant table.
        at: returns such an address that an object holds.
        count: adds one to the number of an object's references.
    """

    tables: tuple[str, ...]
    at: str
    count: str


@dataclass(frozen=True, slots=True)
class Description:
    """One library.

    Attributes:
        name: of the file, without its ending.
        libraries: the sonames that it is for.
        rules: by the function's name, or by names with an asterisk for any part of it.
        fresh: whether the new copy's data may begin anew, for nothing in it outlives a call or it
            is made when it is first needed.
        risk: why two copies at once can harm all the same; "" if they cannot.
        pointers: whether every object holds an address in the library itself while it lives, be it
            through others that it holds, so that a search of the memory finds it.
        code: whether that is an address of code, so that those of data do not count.
        linked: pairs of offsets of a structure that the program owns and of the object: the first
            is where the structure holds the object, the second where that points back. Such pairs
            are found by a search.
        anchors: objects that a search finds by what they hold, as long as they are referred to.
        hidden: functions that make objects which no search finds.
        unfit: functions whose users cannot be drained: objects of both copies meet in them, or
            they hand out objects that nobody saw being made.
        together: likewise those of which a program uses one of each.
        values: whether there are no objects at all: what functions take the program has in its own
            memory, laid out as every version's header says, so that either copy may run any call.
        tells: offset in every object of an address in the copy that made it; None if there is none.
    """

    name: str
    libraries: tuple[str, ...]
    rules: tuple[tuple[str, Rule], ...]
    fresh: bool = False
    risk: str = ""
    pointers: bool = False
    linked: tuple[tuple[int, int], ...] = ()
    anchors: tuple[Anchor, ...] = ()
    hidden: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    code: bool = False
    values: bool = False
    tells: int | None = None

    def unfit_among(self, functions: Collection[str]) -> frozenset[str]:
        """Those for which a program that calls all of these cannot be drained."""
        found = {f for f in functions if any(_fits(pattern, f) for pattern in self.unfit)}
        for patterns in self.together:
            called = [{f for f in functions if _fits(pattern, f)} for pattern in patterns]
            if all(called):
                found.update(*called)
        return frozenset(found)

    def rule_for(self, function: str) -> Rule | None:
        """The rule of a function: its own name first, then the longest that fits."""
        return _best(self.rules, function)


def _best(rules: Iterable[tuple[str, Rule]], function: str) -> Rule | None:
    found, length = None, -1
    for pattern, rule in rules:
        if pattern == function:
            return rule
        if len(pattern) > length and _fits(pattern, function):
            found, length = rule, len(pattern)
    return found


def _fits(pattern: str, name: str) -> bool:
    """Whether a name is meant: by itself, or by what stands before and behind one asterisk."""
    before, star, behind = pattern.partition("*")
    if not star:
        return pattern == name
    enough = len(name) >= len(before) + len(behind)
    return enough and name.startswith(before) and name.endswith(behind)
