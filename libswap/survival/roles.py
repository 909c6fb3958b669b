"""Which functions and which places in the data of two files play the same part, without names.

Two functions do if they have the same exported name, or if functions of which that is known refer
to them at the same instruction. So it is with data. Where a function changed, only those of its
instructions count whose surroundings are the same and occur once in it. What is taken for two
different things anywhere is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from libswap.survival.bodies import Named
from libswap.survival.code import Function
from libswap.survival.forms import Form
from libswap.survival.functions import names, same_code
from libswap.survival.step import made
from libswap.survival.texts import POINTER, Spot, Texts

_AROUND: Final = 6
"""Instructions before and behind a reference that are its surroundings."""
_ALIKE: Final = 0.5
"""Of the instructions of a function without a name, so many must be found in its counterpart."""
_LARGE: Final = 16
"""Instructions; shorter functions can be the same by chance."""
_RESTARTS: Final = 12
_WORD: Final = 8

Pair: TypeAlias = tuple[int, int]
_Sets: TypeAlias = dict[int, set[int]]


@dataclass
class Roles:
    """Functions and data of two files that play the same parts.

    Attributes:
        functions: entry -> entry.
        data: address -> address, for those that have one counterpart in both directions.
        aligned: place of a reference in the old file -> in the new one.
        back: functions the other way round.
        disputed: addresses that are taken for different things, of the old file and of the new.
    """

    old: Texts
    new: Texts
    functions: dict[int, int] = field(default_factory=dict)
    data: dict[int, int] = field(default_factory=dict)
    aligned: dict[Spot, Spot] = field(default_factory=dict)
    disputed: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    back: dict[int, int] = field(default_factory=dict)
    _data_back: dict[int, int] = field(default_factory=dict)
    _votes: tuple[_Sets, _Sets] = field(default_factory=lambda: ({}, {}))
    _sides: tuple[_Sets, _Sets] = field(default_factory=lambda: ({}, {}))
    _named: set[Pair] = field(default_factory=set)
    _last: dict[int, tuple[list[object], list[object]]] = field(default_factory=dict)
    _fresh: list[Pair] = field(default_factory=list)
    _doubtful: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    _unsteady: set[Spot] = field(default_factory=set)
    _exact: dict[Pair, bool] = field(default_factory=dict)
    _akin: dict[Pair, bool] = field(default_factory=dict)

    def find(self) -> None:
        """All that can be found; nothing where the contradictions do not end."""
        for _ in range(_RESTARTS):
            self._clear()
            if self._attempt():
                return
        self._clear()

    def alike(self, old: int, new: int) -> bool:
        """Whether two functions are the same instructions with the same branches."""
        known = self._exact.get((old, new))
        if known is None:
            same = self.old.of(old).form.is_like(self.new.of(new).form)
            known = same and _same_kinds(self.old.named(old), self.new.named(new))
            self._exact[old, new] = known
        return known

    def _clear(self) -> None:
        self.functions, self.back, self.aligned = {}, {}, {}
        self.data, self._data_back = {}, {}
        self.disputed, self._votes = (set(), set()), (defaultdict(set), defaultdict(set))
        self._named, self._fresh, self._sides = set(), [], (defaultdict(set), defaultdict(set))
        self._last = {}

    def _attempt(self) -> bool:
        """Whether no function turned out to play two parts."""
        todo = [pair for pair in self._seeds if self._take(*pair)]
        changed: list[Pair] = []
        of_one_code: list[Pair] = []
        known = -1
        while todo or known != len(self.aligned):
            known = len(self.aligned)
            for pair in todo:
                self.old.budget.check()
                if self.alike(*pair):
                    self._same(*pair)
                else:
                    changed.append(pair)
            for pair in changed:
                self.old.budget.check()
                self._surrounded(*pair)
            self._tables()
            found = [pair for pair in sorted(self._named) if self._are_akin(*pair)]
            self._named.clear()
            if not self._agree([*found, *of_one_code]):
                return False
            todo = [pair for pair in found if self._take(*pair)]
            if not todo and len(self.aligned) == known:
                todo = of_one_code = [pair for pair in self._of_one_code if self._take(*pair)]
        return self._still(changed)

    @cached_property
    def _of_one_code(self) -> list[Pair]:
        """Functions of one code that occurs once in each file, and is no small thing."""
        return same_code(self.old.bodies, self.new.bodies, self.old.budget, _LARGE)

    @cached_property
    def _seeds(self) -> list[Pair]:
        """Functions of one name, where one address has one name's worth of counterparts."""
        old, new = (names(t.bodies.code) for t in (self.old, self.new))
        both = {(f.start, new[n].start) for n, f in old.items() if n in new}
        ones, others = Counter(a for a, _ in both), Counter(b for _, b in both)
        return sorted((a, b) for a, b in both if ones[a] == others[b] == 1)

    def _take(self, old: int, new: int) -> bool:
        if old in self.functions or new in self.back:
            return False
        if old in self._doubtful[0] or new in self._doubtful[1]:
            return False
        self.functions[old], self.back[new] = new, old
        return True

    def _agree(self, found: Iterable[Pair]) -> bool:
        """Note functions that have several counterparts; those of a name keep theirs."""
        seen: tuple[set[int], set[int]] = set(), set()
        for old, new in found:
            if old not in self._doubtful[0] and new not in self._doubtful[1]:
                self._sides[0][old].add(new)
                self._sides[1][new].add(old)
                seen[0].add(old)
                seen[1].add(new)
        named = {a for a, _ in self._seeds}, {b for _, b in self._seeds}
        news: tuple[set[int], set[int]] = set(), set()
        for this, that in ((0, 1), (1, 0)):
            for one in seen[this]:
                others = self._sides[this][one]
                known = (self.functions, self.back)[this].get(one)
                if len(others | ({known} if known is not None else set())) > 1:
                    news[this].update({one} - named[this])
                    news[that].update(others - named[that])
        self._doubtful[0].update(news[0])
        self._doubtful[1].update(news[1])
        return not any(news)

    def _same(self, old: int, new: int) -> None:
        """Two functions of the same instructions."""
        its = self.new.named(new)
        for index, one in self.old.named(old).items():
            at, there = made(Spot, (old, index)), made(Spot, (new, index))
            self._align(at, there, one, its[index])

    def _surrounded(self, old: int, new: int) -> None:
        """Two functions of which one is a change of the other."""
        tokens = self._tokens(old, self.old, mine=True), self._tokens(new, self.new, mine=False)
        if self._last.get(old) == tokens:
            return
        self._last[old] = tokens
        mine, its = self.old.named(old), self.new.named(new)
        ones, others = (_by_surroundings(n, t) for n, t in zip((mine, its), tokens, strict=True))
        for surroundings, index in ones.items():
            other = others.get(surroundings, -1)
            if not index >= 0 <= other or Spot(old, index) in self._unsteady:
                continue
            if _same_kind(mine[index], its[other]):
                self._align(Spot(old, index), Spot(new, other), mine[index], its[other])

    def _tokens(self, start: int, texts: Texts, *, mine: bool) -> list[object]:
        """Each step, with what it refers to where that is known, in terms of the old file."""
        exact = texts.of(start).form.exact
        tokens: list[object] = list(exact)
        for index, named in texts.named(start).items():
            tokens[index] = (exact[index], self._known(named, mine=mine))
        return tokens

    def _known(self, named: Named, *, mine: bool) -> object:
        if isinstance(named, str):
            return named
        at = named.start if isinstance(named, Function) else named
        pairs = self.functions if isinstance(named, Function) else self.data
        if mine:
            return at if at in pairs else None
        back = self.back if isinstance(named, Function) else self._data_back
        return back.get(at)

    def _align(self, at: Spot, there: Spot, one: Named, other: Named) -> None:
        """Two places play the same part, and so does what they name."""
        if at in self.aligned:
            return
        self.aligned[at] = there
        if isinstance(one, Function) and isinstance(other, Function):
            pair = one.start, other.start
            if other.start not in self._sides[0].get(one.start, ()):
                self._named.add(pair)
        elif isinstance(one, int) and isinstance(other, int):
            self._vote(one, other)

    def _vote(self, old: int, new: int) -> None:
        """Data counts where it has one counterpart, and that one none but it."""
        forth, back = self._votes
        if new in forth[old]:
            return
        forth[old].add(new)
        back[new].add(old)
        if len(forth[old]) == len(back[new]) == 1:
            self.data[old], self._data_back[new] = new, old
            self._fresh.append((old, new))
            return
        self.old.budget.check()
        for a in {old, *(a for b in forth[old] for a in back[b])}:
            for b in {new, *forth[a]}:
                self.disputed[0].add(a)
                self.disputed[1].add(b)
                self.data.pop(a, None)
                self._data_back.pop(b, None)

    def _tables(self) -> None:
        """Pointers in data that is laid out alike up to the next thing that something names."""
        while self._fresh:
            self.old.budget.check()
            old, new = self._fresh.pop()
            for place, there in _pointers(self.old, old, self.new, new):
                one, other = self.old.pointed(place), self.new.pointed(there)
                self._align(Spot(place, POINTER), Spot(there, POINTER), one, other)

    def _are_akin(self, old: int, new: int) -> bool:
        """Whether a function can be another one after a change: half of it is still there."""
        known = self._akin.get((old, new))
        if known is None:
            self.old.budget.check()
            known = self._akin[old, new] = _akin(self.old.of(old).form, self.new.of(new).form)
        return known

    def _still(self, changed: Sequence[Pair]) -> bool:
        """Whether what was aligned before all was known still is, now that it is."""
        lost = set()
        for old, new in changed:
            self.old.budget.check()
            mine = self._tokens(old, self.old, mine=True)
            its = self._tokens(new, self.new, mine=False)
            for index in self.old.named(old):
                there = self.aligned.get(Spot(old, index))
                if there is not None and _around(mine, index) != _around(its, there.step):
                    lost.add(Spot(old, index))
        self._unsteady |= lost
        return not lost


def _akin(one: Form, other: Form) -> bool:
    """Whether half of the instructions are the same."""
    if one is other:
        return True
    a, b = one.exact, other.exact
    return sum((Counter(a) & Counter(b)).values()) >= _ALIKE * max(len(a), len(b))


def _same_kinds(ones: Mapping[int, Named], others: Mapping[int, Named]) -> bool:
    """Whether two functions of the same instructions refer to the same kinds of things."""
    return all(_same_kind(one, others[index]) for index, one in ones.items())


def _same_kind(one: Named, other: Named) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return isinstance(one, Function) == isinstance(other, Function)


def _by_surroundings(named: Iterable[int], tokens: Sequence[object]) -> dict[object, int]:
    """Surroundings of each reference -> its index; -1 for those that occur twice."""
    found: dict[object, int] = {}
    for index in named:
        key = _around(tokens, index)
        found[key] = -1 if key in found else index
    return found


def _around(tokens: Sequence[object], index: int) -> object:
    """What stands around a step, the step itself without what it refers to."""
    token = tokens[index]
    itself = token[0] if isinstance(token, tuple) else token
    before = tokens[max(0, index - _AROUND) : index]
    return (len(before), *before, itself, *tokens[index + 1 : index + 1 + _AROUND])


def _pointers(old: Texts, at: int, new: Texts, there: int) -> Iterator[Pair]:
    """Words that are pointers in both, where all that is no pointer is the same."""
    size = old.reach(at)
    offsets = old.pointers(at, size)
    if not offsets:
        return
    other = new.reach(there)
    if size != other:
        size = _WORD if min(size, other) >= _WORD and old.is_word(at) else 0
    if size and old.contents(at, size) == new.contents(there, size):
        for offset in offsets:
            if offset < size:
                yield at + offset, there + offset
