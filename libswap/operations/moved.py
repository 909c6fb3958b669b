"""Who maps a replaced library still, but has been moved onto the new one by libswap.

The record of that lies in the process's own memory. It can lie, about its own process only; so a
process that is taken out of the stale ones by it is listed apart, never dropped.
"""

from collections.abc import Sequence
from dataclasses import replace

from libswap.errors.base import LibswapError
from libswap.live.carriers import record_of
from libswap.live.registry import CopyRecord, Record
from libswap.process.identity import Identity
from libswap.scan.scanner import Group, Scan
from libswap.scan.stale import Moved
from libswap.scan.use import Use, User


def without_moved(found: Scan) -> Scan:
    """Set those apart in whom nothing stale is left in use."""
    groups, moved = [], list[User]()
    for group in found.groups:
        stale = list[User]()
        for user in map(settled, group.users):
            (stale if any(use.stale for use in user.uses) else moved).append(user)
        groups += [Group(group.service, tuple(stale))] if stale else []
    return replace(found, groups=tuple(groups), moved=tuple(moved))


def settled(user: User) -> User:
    """The same, where what libswap has moved elsewhere is stale no more."""
    if not any(use.stale for use in user.uses):
        return user
    left = _left_copies(_record(user.process.identity))
    return replace(user, uses=tuple(_settled(use, left) for use in user.uses))


def _settled(use: Use, left: Sequence[tuple[CopyRecord, CopyRecord]]) -> Use:
    for copy, current in left:
        lies_there = any(start <= copy.base < end for start, end in use.ranges)
        if use.stale and lies_there and current.build_id == use.disk_build_id:
            return replace(use, state=Moved(), stale=False)
    return use


def _left_copies(record: Record) -> list[tuple[CopyRecord, CopyRecord]]:
    """Each copy that is not in use any more, with the one that is."""
    if record.pending:
        return []
    return [
        (copy, family.copies[family.current])
        for family in record.families
        for copy in family.copies
        if copy is not family.copies[family.current]
    ]


def _record(identity: Identity) -> Record:
    """What a process says of itself; nothing where it cannot be read, for then it stays stale."""
    try:
        return record_of(identity)
    except (OSError, LibswapError):
        return Record()
