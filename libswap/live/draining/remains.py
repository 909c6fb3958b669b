"""How many objects of the old copy are left in a draining process, as far as can be known."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from libswap.linux.memory import Range
from libswap.live.draining import anchors, table
from libswap.live.draining.chunks import Chunks
from libswap.live.draining.links import Link, Words, links
from libswap.live.draining.parties import Parties
from libswap.live.draining.pointers import pointers_into
from libswap.live.draining.table import Contents, Entry
from libswap.live.stacks import Areas, Hit
from libswap.live.subject import Subject


@dataclass(frozen=True, slots=True)
class Remains:
    """What is known to be left.

    Attributes:
        seen: objects of the old copy that were used since and are not gone.
        found: those that were not used since, but found by a search: by structures that hold them,
            or by what they hold.
        pointers: words in memory that point into the old copy, outside of what is known to be gone.
        hidden: functions in use by the program whose objects leave no trace.
        complete: whether all of the memory was searched.
        provable: whether the description tells how the objects are found at all.
        lost: how many handles had no room in the table.
        new: objects of the new copy that are not gone.
        met: stands still as long as no further old object is met.
        made: stands still as long as no new object is made.
    """

    seen: tuple[Entry, ...]
    found: tuple[int, ...]
    pointers: tuple[Hit, ...]
    hidden: tuple[str, ...]
    complete: bool
    provable: bool
    lost: int
    new: int
    met: int
    made: int

    @property
    def known(self) -> int:
        """Old objects that are left for certain."""
        return len(self.seen) + len(self.found)

    @property
    def proven_empty(self) -> bool:
        """Whether nothing is left for certain."""
        return not (self.known or self.lost or self.doubts())

    def doubts(self) -> tuple[str, ...]:
        """Why more may be left than is known."""
        found = []
        if self.lost:
            found.append(f"{self.lost} handles had no room in the table")
        if not self.provable:
            found.append("its description does not tell how objects are found that nobody uses")
        if self.hidden:
            found.append(f"the program uses {', '.join(self.hidden)}, whose objects leave no trace")
        if self.pointers:
            first = self.pointers[0]
            count = len(self.pointers)
            what = "word still points" if count == 1 else "words still point"
            found.append(f"{count} {what} into the old copy, the first at {first.at:#x}")
        if not self.complete:
            found.append("there is more memory than is searched")
        return tuple(found)


def remains(subject: Subject, parties: Parties) -> Remains:
    """Count and search; the process goes on meanwhile.

    An object that lives all the while is found, for it neither moves nor changes what it is found
    by; whether one was met that was not known can be told afterwards by `met`.
    """
    drain, memory = parties.drain, subject.memory
    known = table.contents(memory, drain.table)
    chunks = Chunks.of(memory, subject.mappings, subject.modules)
    gone = [chunks.given_out(e.handle) for e in known.gone]
    pointers, complete = pointers_into(subject, parties, gone) if drain.pointers else ((), True)
    old = tuple(e for e in known.old if e.handle not in parties.source.extent)
    new = {e.handle for e in known.new if e.handle not in parties.target.extent}
    linked, all_linked = links(subject, drain.linked)
    (held, more_new), all_held = _alive(subject, parties)
    found = _but_for_new_ones(chunks, table.contents(memory, drain.table), linked, held)
    return Remains(
        seen=old, found=tuple(sorted(found - {e.handle for e in old})), pointers=pointers,
        hidden=_imported(subject, parties),
        complete=complete and all_linked and all_held,
        provable=bool(drain.values or drain.pointers or drain.linked)
        or anchors.readable(parties.source.facts, drain.anchors),
        lost=known.lost, new=len(new | more_new), met=known.met, made=known.made,
    )  # fmt: skip


def _alive(subject: Subject, parties: Parties) -> tuple[list[frozenset[int]], bool]:
    """Objects of the old copy, and of the new one, that the program or another object refers to."""
    ours = [Range(c.area, c.area + c.area_size) for c, _ in parties.copies if c.area]
    handles = Range(parties.drain.table, parties.drain.table + table.ALLOCATED)
    copies = parties.source, parties.target
    return anchors.alive(subject, copies, parties.drain.anchors, [*ours, handles])


def _but_for_new_ones(
    chunks: Chunks, known: Contents, linked: Mapping[int, Link], held: frozenset[int]
) -> frozenset[int]:
    """What a search found, without what came or went during it, by what the table says afterwards.

    Nor does what a part of a new object holds count: nobody saw the new copy make that for itself.
    """
    mine = {e.handle for e in (*known.old, *known.new)}
    others = {handle: link for handle, link in linked.items() if handle not in mine}
    own = Areas([chunks.given_out(e.handle) for e in (known.new if others else ())])
    words = Words(chunks.memory)
    return (held - mine) | {
        handle for handle, link in others.items()
        if not own.find(link.place) and words.at(link.back) == link.holder
    }  # fmt: skip


def _imported(subject: Subject, parties: Parties) -> tuple[str, ...]:
    """Functions of the description's `hidden` that some module can call."""
    wanted = set(parties.drain.hidden)
    copies = {m.base for _, m in parties.copies}
    others = (m for m in subject.modules if m.library is not None and m.base not in copies)
    asked = chain.from_iterable(m.facts.symbols for m in others)
    return tuple(sorted({s.name for s in asked if not s.defined} & wanted))
