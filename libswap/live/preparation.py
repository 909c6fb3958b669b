"""A swap of one or several libraries whose new copies are loaded: all writes of both commits."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from libswap.linux.memory import Range
from libswap.live import plan, registry, state
from libswap.live.gate import Room
from libswap.live.leading import Places
from libswap.live.member import Member
from libswap.live.outlook import Work, into_data, require_clear, words_into
from libswap.live.registry import Event, Family, Pending, Place, Record
from libswap.live.subject import Subject
from libswap.live.wanted import Loaded
from libswap.live.writing import Copy, Phase, Prepared, Write


class Records(NamedTuple):
    """The process's record at the ends of the first commit.

    Attributes:
        begin: the write that says what is about to happen.
        switched: the record's place once it has happened.
        done: the write that says so.
        abandon: the write where it is given up.
    """

    begin: Write
    switched: Place
    done: Write
    abandon: Write


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is prepared between loading and committing.

    Attributes:
        subject: the process, with the new copies in it.
        record: what it carries.
        members: the libraries.
        slots: for each library the words of other modules that are to lead to its new copy.
        own: for each library the words of its new copy that are to be set right.
        mapping: of a new record, 0 where the process has one that is large enough.
        id: of the swap.
    """

    subject: Subject
    record: Record
    members: tuple[Member, ...]
    slots: tuple[Places, ...]
    own: tuple[Places, ...]
    mapping: int
    id: str

    @classmethod
    def of(
        cls, subject: Subject, works: Sequence[Work], there: Loaded, rooms: Sequence[Room]
    ) -> "Preparation":
        """Look again at the process, now that the new copies are loaded."""
        now = subject.again()
        record = now.record
        members = tuple(
            Member.of(work, now, record, opened, room)
            for work, opened, room in zip(works, there.libraries, rooms, strict=True)
        )
        retired = {way.source.base for m in members for way in m.ways}
        slots = tuple(m.slots(now, retired) for m in members)
        own = tuple(m.own(now.memory) for m in members)
        return cls(now, record, members, slots, own, there.record, secrets.token_hex(4))

    def before(self) -> list[Write]:
        """What nobody reaches before the first commit: it is written while all goes on."""
        areas = [m.area for m in self.members if m.area.contents]
        owns = [o for m, o in zip(self.members, self.own, strict=True) if not m.used_before]
        return [
            *(Write(area.address, b"", area.contents) for area in areas),
            *(write for own in owns for write in own.writes),
        ]

    def switching(self, exchanges: Sequence[state.Exchange], records: Records) -> Prepared:
        """The first commit."""
        phases = plan.switching(
            self.subject.memory, self.turns(), exchanges, self.followers(self.exchanged())
        )
        forbidden = tuple(f for m in self.members for f in m.forbidden())
        still = tuple(one for m in self.members for one in m.work.survey.still)
        ends = (records.begin,), (records.done,), (records.abandon,)
        return Prepared(phases, forbidden, *ends, still=still)

    def turns(self) -> list[plan.Turn]:
        """Each library's part in it."""
        exchanged = self.exchanged()
        unused = [m.target.extent for m in self.members if not m.used_before]
        turns = []
        for member, slots, own in zip(self.members, self.slots, self.own, strict=True):
            words = [w for w in slots.writes if not any(w.address in r for r in exchanged)]
            ahead = {w.address: w for w in words if any(w.address in e for e in unused)}
            places = [
                *(w for w in words if w.address not in ahead),
                *member.tables(self.subject.memory),
                *member.handlers(self.subject),
                *(own.writes if member.used_before else ()),
            ]
            turns.append(member.turn(tuple(ahead.values()), places))
        return turns

    def require_clear(self) -> None:
        """Make sure that nothing stands in the way that is seen only now.

        Raises:
            NotSwappable: something does.
        """
        rows = zip(self.members, self.slots, self.own, strict=True)
        require_clear([
            replace(m.work, outlook=replace(m.work.outlook, findings=(*a.findings, *b.findings)))
            for m, a, b in rows
        ])  # fmt: skip

    def settling(self) -> tuple[Phase, ...]:
        """The phases of the second commit."""
        phases = plan.settling(
            self.subject.memory, [way for m in self.members for way in m.settling()]
        )
        followers = self.followers(())  # words that were not there when the plan was made
        return (*phases, followers) if followers else phases

    def exchanges(self, pending: Sequence[Pending] = ()) -> list[tuple[state.Exchange, ...]]:
        """For each library what its copies exchange; `pending` has what was read before."""
        fresh = {at: content for p in pending for at, content in p.contents()}
        parts = [m.carried(fresh) for m in self.members]
        both = state.translations(parts)
        return [state.exchanges(self.subject.memory, part, both) for part in parts]

    def exchanged(self) -> tuple[Range, ...]:
        """Where the exchanged objects lie, in both copies: the exchange itself translates them."""
        return tuple(
            r for m in self.members for place, to in m.carried({}).objects
            for r in (place, Range(to, to + place.size))
        )  # fmt: skip

    def followers(self, exchanged: Sequence[Range]) -> tuple[Copy, ...]:
        """Words elsewhere that point to objects of the copies in use."""
        return tuple(f for m in self.members for f in self._followers(m, exchanged))

    def records(self, what: str, exchanges: Sequence[Sequence[state.Exchange]]) -> Records:
        """The record when the commit begins, when it is done, and where it is given up."""
        place, before, given_up = self._place(), self.record, self.record
        pending: list[Pending] = []
        for member, own in zip(self.members, exchanges, strict=True):
            source, target = member.index(member.source), member.index(member.target)
            index = before.family_of(member.source.base)
            before, number = before.with_family(index, Family(member.records(), source))
            # As it was, but for the new copy, which may stay loaded.
            known = tuple(c.record for c in member.copies)
            given_up, _ = given_up.with_family(index, Family(known, source))
            fresh = tuple((at, data.rstrip(b"\0").hex()) for at, data in (e.fresh for e in own))
            places, sizes = tuple(e.place for e in own), tuple(len(e.fresh[1]) for e in own)
            pending.append(Pending(number, source, target, fresh, places, sizes))
        events = [self._event(m, what) for m in self.members]
        begun, begin = place.writes(
            replace(with_events(before, events, "begun"), pending=tuple(pending))
        )
        switched, done = begun.writes(
            with_events(with_current(before, pending), events, "switched")
        )
        _, abandon = begun.writes(given_up)
        return Records(begin, switched, done, abandon)

    def _event(self, member: Member, what: str) -> Event:
        outlook, source = member.work.outlook, member.source
        return Event(
            self.id, time.time(), what, outlook.library, outlook.old, outlook.new, source.base,
            member.target.base, "begun",
        )  # fmt: skip

    def _place(self) -> Place:
        subject = self.subject
        if not self.mapping:
            assert subject.place is not None  # noqa: S101  else one was asked for
            return subject.place
        mapping = next(m for m in subject.mappings if m.start == self.mapping)
        place, write = registry.blank(mapping.start, mapping.end - mapping.start)
        subject.memory.write(write.address, write.new)
        return replace(place, number=subject.place.number if subject.place else 0)

    def _followers(self, member: Member, exchanged: Sequence[Range]) -> tuple[Copy, ...]:
        work, memory = member.work, self.subject.memory
        if not work.survey.pairs:
            return ()
        found = words_into(self.subject, work.source, work.survey.pairs, (member.target,))
        hits = [
            h for h in into_data(memory, work.source, found)
            if not any(h.at in r for r in exchanged)
        ]  # fmt: skip
        return state.follow(hits, state.translations([member.carried({})]).forward)


def with_events(record: Record, events: Sequence[Event], state_: str) -> Record:
    """The record with events in a state."""
    for event in events:
        record = record.with_event(replace(event, state=state_))
    return record


def with_current(record: Record, pending: Sequence[Pending]) -> Record:
    """The record with the targets in use, and nothing pending."""
    for part in pending:
        family = replace(record.families[part.family], current=part.target)
        record, _ = record.with_family(part.family, family)
    return replace(record, pending=())
