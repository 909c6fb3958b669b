"""From sources and surveyed destinations to one transaction; pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from libswap.errors.base import LibswapError, UsageError
from libswap.install.content import Content, File, Link, Nothing, keep_name, same
from libswap.install.survey import Source, Survey
from libswap.install.transaction import Caller, Change, Kind, Strategy, Transaction, stage_name
from libswap.linux.attributes import Attributes
from libswap.linux.files import FileId

_SLACK = 1 << 16
"""Bytes on each file system for directories, the journal and the history."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One library and where it goes."""

    source: Source
    survey: Survey


@dataclass(frozen=True, slots=True)
class Order:
    """What a transaction is called and who asked for it.

    Attributes:
        id: of the operation.
        time: seconds since the epoch.
        caller: who asked.
        strategy: how names are changed.
    """

    id: str
    time: float
    caller: Caller
    strategy: Strategy


def transaction(pairs: Sequence[Pair], order: Order) -> Transaction:
    """All files first, then all links that move to them; what is the same already is left out.

    Raises:
        UsageError: two sources would become one name.
    """
    _require_distinct(pairs)
    changes = numbered([*_files(pairs), *_links(pairs)], order.id)
    return Transaction(order.id, Kind.INSTALL, order.time, order.caller, order.strategy, changes)


def numbered(wanted: Iterable[Change], operation_id: str) -> tuple[Change, ...]:
    """The changes that change anything, each with the name under which it will be prepared."""
    changes = (change for change in wanted if not same(change.before, change.after))
    return tuple(
        replace(change, stage=stage_name(operation_id, number))
        for number, change in enumerate(changes)
    )


def _files(pairs: Iterable[Pair]) -> Iterator[Change]:
    for pair in pairs:
        source, survey = pair.source, pair.survey
        after = replace(source.file, attributes=_attributes_from(survey), inode=None)
        yield _change(survey, survey.target.name, survey.before, after, source.path)


def _change(
    survey: Survey, name: str, before: Content, after: Content, origin: str | None = None
) -> Change:
    directory = survey.target.directory
    keep = keep_name(before)
    return Change(directory, survey.directory_id, name, before, after, origin, "", keep)


def _attributes_from(survey: Survey) -> Attributes | None:
    """Those of the file it replaces, or else of the version that it supersedes."""
    old = survey.before if isinstance(survey.before, File) else survey.superseded
    return old.attributes if old is not None else None


def _links(pairs: Iterable[Pair]) -> Iterator[Change]:
    for pair in pairs:
        target = pair.survey.target
        if target.link is not None:
            before = pair.survey.link_before or Nothing()
            yield _change(pair.survey, target.link, before, Link(target.name))


def _require_distinct(pairs: Iterable[Pair]) -> None:
    targets = [pair.survey.target for pair in pairs]
    names = [t.path for t in targets] + [f"{t.directory}/{t.link}" for t in targets if t.link]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{count} of the sources would become {name}", "Install one of them.")


def space_needed(change_list: Iterable[Change], store: FileId | None) -> dict[int, tuple[str, int]]:
    """Bytes needed on each file system, by device, each with a path on it.

    Args:
        change_list: what will be done.
        store: the store's directory, or one on the same file system; files from another file
            system are copied there.
    """
    needed: dict[int, tuple[str, int]] = {}

    def add(device: int, path: str, size: int) -> None:
        first, so_far = needed.get(device, (path, _SLACK))
        needed[device] = (first, so_far + size)

    for change in change_list:
        device = change.directory_id.device
        if isinstance(change.after, File):
            add(device, change.directory, change.after.size)
        if isinstance(change.before, File) and store is not None and store.device != device:
            add(store.device, "the store of kept files", change.before.size)
    return needed


def first(problems: Iterable[LibswapError]) -> None:
    """Raise the gravest problem, if there is any."""
    for problem in problems:
        raise problem
