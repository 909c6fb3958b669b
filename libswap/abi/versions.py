"""Rules on the version nodes that a library defines."""

from collections.abc import Iterator

from libswap.abi import catalogue
from libswap.abi.finding import Finding
from libswap.elf.library import Library


def version_nodes(old: Library, new: Library) -> Iterator[Finding]:
    """Nodes that went or came.

    A library without any node satisfies every wanted one, with a warning: glibc's dl-version.c
    (match_symbol) takes it for one that was built without versions.
    """
    if old.versions and not new.versions and new.base_version is None:
        yield catalogue.VERSIONS_LOST.finding("", f"{len(old.versions)} version nodes", "none")
        return
    for node in old.versions:
        if node not in new.versions:
            private = is_private(node)
            rule = catalogue.PRIVATE_VERSION_REMOVED if private else catalogue.VERSION_REMOVED
            yield rule.finding(node, "defined", "")
    for node in new.versions:
        if node not in old.versions:
            yield catalogue.VERSION_ADDED.finding(node, "", "defined")


def is_private(node: str) -> bool:
    """Whether a node's name says that it is no public interface, as GLIBC_PRIVATE does."""
    return "PRIVATE" in node.upper()
