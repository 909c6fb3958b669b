"""May a new library stand in for an old one, on this machine, for what runs on it?"""

import os
from collections.abc import Sequence
from typing import Final

from libswap.abi import catalogue
from libswap.abi.compare import compare, in_order
from libswap.abi.finding import Finding
from libswap.abi.importers import name_importers
from libswap.abi.scope import unmet
from libswap.abi.verdict import verdict
from libswap.elf.format import FileType
from libswap.elf.image import Image
from libswap.elf.library import Libraries, Library
from libswap.errors.base import InvalidElf, SystemRefused
from libswap.linux.rooted import Root
from libswap.live.module import LibraryCache
from libswap.operations.check.places import Pair, places
from libswap.operations.check.processes import Collector, Process
from libswap.operations.check.result import Check, Checked, Running, SymbolLevelOnly, Types
from libswap.operations.check.types import compare_types
from libswap.operations.survival import Survival, survival
from libswap.operations.survival.nameless import finder
from libswap.settings import Settings
from libswap.survival.sources import read_once

__all__ = ["Check", "check"]

_INCOMPARABLE: Final = frozenset(
    rule.id for rule in (catalogue.MACHINE, catalogue.NOT_SHARED, catalogue.PROGRAM)
)


def check(
    old_path: str,
    new_path: str,
    settings: Settings,
    *,
    headers: str | None = None,
    together: Sequence[str] = (),
    live: bool = False,
) -> Check:
    """Compare two libraries and look at who would load the new one.

    Args:
        old_path: the library that is there; who has it loaded is found by it.
        new_path: what would take its place.
        settings: how long abidiff may take.
        headers: the directory of the library's public headers, where they are known.
        together: other new libraries that will be installed in the same moment.
        live: say too whether objects of running processes survive a live swap.

    Raises:
        InvalidElf: one of the two is no shared library.
        SystemRefused: one of the two cannot be read.
    """
    libraries = Libraries()
    old, new = (_library(path, libraries) for path in (old_path, new_path))
    if old.type != FileType.DYN:
        raise InvalidElf(old_path, "it is a program or an object file")
    collector = Collector(libraries)
    processes = collector.users_of(old_path)
    findings = compare(old, new)
    types: Types = SymbolLevelOnly("the new file cannot be loaded at all")
    if not any(finding.rule in _INCOMPARABLE for finding in findings):
        types, layouts = compare_types(old, new, headers=headers, timeout=settings.abidiff_time)
        companions = (_library(path, libraries) for path in together)
        beside = {library.soname: library for library in companions if library.soname}
        pair = Pair(old, new, _real(old_path), beside)
        findings = _in_place(pair, processes, libraries, findings)
        findings = in_order((*findings, *layouts))
    return Check(
        Checked.of(old),
        Checked.of(new),
        verdict(old, new, findings),
        findings,
        types,
        processes=tuple(sorted(Running(p.pid, p.name) for p in processes)),
        uninspected=tuple(collector.uninspected),
        survival=_survival(old_path, new_path, settings) if live else None,
    )


def _survival(old_path: str, new_path: str, settings: Settings) -> Survival:
    with Root.open("/") as here, read_once():
        cache = LibraryCache((here,), finder(settings.state_dir))
        return survival(cache.open(old_path), cache.open(new_path), settings.state_dir)


def _in_place(
    pair: Pair,
    processes: tuple[Process, ...],
    libraries: Libraries,
    findings: tuple[Finding, ...],
) -> tuple[Finding, ...]:
    """The findings with who feels them, and those that the surroundings give rise to."""
    named = name_importers(findings, pair.old, [process.affected for process in processes])
    return (*named, *unmet(pair.old, pair.new, places(pair, processes, libraries)))


def _library(path: str, libraries: Libraries) -> Library:
    try:
        return libraries.of(Image.open(path))
    except OSError as error:
        raise SystemRefused("read", path, error.strerror or str(error)) from error


def _real(path: str) -> str:
    return os.path.realpath(path)
