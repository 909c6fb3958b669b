"""Tables of function pointers: an object that points to one expects each function in its place."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from libswap.elf.symbols import SymbolType
from libswap.survival.code import Code
from libswap.survival.comparison import label
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.functions import Pairs

_LARGEST: Final = 512
"""Bytes of a table whose size no symbol tells."""
_GAP: Final = 16
"""Bytes from one pointer of such a table to the next: one place may be empty."""
_MOST: Final = 20_000
_SHOWN: Final = 4


def moved_entries(pairs: Pairs) -> Iterator[Evidence]:
    """Functions that stand in another place of a table that both files have."""
    old, new = pairs.old.code, pairs.new.code
    ones, others = _Tables(old), _Tables(new)
    for one, other in _starts(pairs, ones, others).items():
        before, after = ones.of(one), others.of(other)
        at = {function: offset for offset, function in after.items()}
        moved = [
            (offset, at[pairs.functions[function]], function)
            for offset, function in before.items()
            if function in pairs.functions
            and after.get(offset) != pairs.functions[function]
            and pairs.functions[function] in at
        ]  # fmt: skip
        if moved:
            shown = moved[:_SHOWN]
            yield Evidence(
                "table-reordered", Weight.DANGER, ones.name(one),
                ", ".join(f"{label(old.by_start[f])} at {a}" for a, _, f in shown),
                ", ".join(f"at {b}" for _, b, _ in shown),
            )  # fmt: skip


def _starts(pairs: Pairs, old: "_Tables", new: "_Tables") -> dict[int, int]:
    """Address of a table in the old file -> in the new one."""
    found = {
        a: b for a, b in pairs.data.items()
        if a in pairs.old.code.pointers and b in pairs.new.code.pointers
    }  # fmt: skip
    found.update({old.named[n]: new.named[n] for n in old.named.keys() & new.named.keys()})
    return dict(sorted(found.items())[:_MOST])


class _Tables:
    """The function pointers of one file."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._places = sorted(code.pointers)
        self._sizes: dict[int, int] = {}
        self.named: dict[str, int] = {}
        kinds = (SymbolType.OBJECT, SymbolType.COMMON)
        twice = set()
        for s in (*code.statics, *code.symbols):
            if s.type in kinds and s.defined and s.size:
                self._sizes[s.value] = s.size
                if self.named.setdefault(s.name, s.value) != s.value:
                    twice.add(s.name)
        for name in twice:
            del self.named[name]
        self._names = {at: name for name, at in self.named.items()}

    def name(self, start: int) -> str:
        """What to call it."""
        return self._names.get(start, f"the table at {start:#x}")

    def of(self, start: int) -> dict[int, int]:
        """Offset -> function."""
        size = self._sizes.get(start)
        end = start + (size or _LARGEST)
        found: dict[int, int] = {}
        last = start
        for place in self._places[bisect_left(self._places, start) :]:
            if place >= end or (size is None and place - last > _GAP):
                break
            to = self._code.pointers[place]
            if to in self._code.by_start:
                found[place - start] = to
            elif size is None:
                break
            last = place
        return found
