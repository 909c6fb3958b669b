"""Old versions that a versioned install left beside the new one, and that nothing leads to now."""

from collections.abc import Iterable, Iterator

from libswap.errors.base import LibswapError
from libswap.install.content import File, Link, Nothing, keep_name, observe
from libswap.install.history import Operation
from libswap.install.transaction import Change
from libswap.linux import files
from libswap.linux.files import Directory, FileId


def candidates(operations: Iterable[Operation]) -> dict[str, frozenset[str]]:
    """The names that SONAME links led to before operations moved them, by directory."""
    found: dict[str, frozenset[str]] = {}
    for operation in operations:
        for change in operation.transaction.changes:
            match change.before, change.after:
                case Link(text), Link() if "/" not in text:
                    directory = change.directory
                    found[directory] = found.get(directory, frozenset()) | {text}
                case _:
                    pass
    return found


def removals(named: dict[str, frozenset[str]]) -> Iterator[Change]:
    """The changes that take such names away: of files that no link in their directory leads to."""
    for path, names in sorted(named.items()):
        try:
            with Directory(path) as directory:
                yield from _removals(directory, names - _led_to(directory))
        except LibswapError:
            continue  # a directory that is gone, or not ours to read, has nothing for us


def _removals(directory: Directory, names: Iterable[str]) -> Iterator[Change]:
    directory_id = FileId.of(directory.status)
    for name in sorted(names):
        before = observe(directory, name)
        if isinstance(before, File):
            keep = keep_name(before)
            yield Change(directory.path, directory_id, name, before, Nothing(), None, "", keep)


def _led_to(directory: Directory) -> frozenset[str]:
    """Every name that a link in a directory leads to, within it."""
    found = set()
    for name in directory.names():
        status = directory.lstat(name)
        if status is not None and files.is_link(status):
            found.add(directory.readlink(name).removeprefix(f"{directory.path}/"))
    return frozenset(found)
