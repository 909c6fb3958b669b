"""How a library came into a process: needed by which modules, or loaded while it ran."""

import os
from dataclasses import dataclass
from typing import TypeAlias

from libswap.linux.procmap import FileKey
from libswap.scan.lookup import Lookup
from libswap.scan.modules import Modules, unread_module
from libswap.scan.witness import Witness


@dataclass(frozen=True, slots=True)
class Needed:
    """DT_NEEDED of modules that the process has mapped names it.

    Attributes:
        by: the paths of those modules.
    """

    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """No mapped module needs it: dlopen(3) brought it in, or LD_PRELOAD."""


@dataclass(frozen=True, slots=True)
class Program:
    """It is the program itself."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """It is the program's dynamic linker (PT_INTERP)."""


@dataclass(frozen=True, slots=True)
class Data:
    """It is mapped, but no part of it to be executed."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Too few of the process's modules could be read.

    Attributes:
        reason: why.
    """

    reason: str


Loading: TypeAlias = Needed | Opened | Program | Interpreter | Data | Unknown


def how_loaded(key: FileKey, witness: Witness, lookup: Lookup, modules: Modules) -> Loading:
    """Find out how a process came to map a file.

    Raises:
        OSError: the process has ended.
    """
    if not any(mapping.executable for mapping in witness.of(key)):
        return Data()
    if os.fsencode(witness.procfs.link(witness.pid, "exe")) == key.name:
        return Program()
    mapped = modules.of_process(witness, lookup)
    own = mapped.pop(key, None) or unread_module(key)
    others = [module for module in mapped.values() if module is not None]
    if by := tuple(sorted(m.path for m in others if not own.names.isdisjoint(m.needed))):
        return Needed(by)
    if any(m.interpreter.rpartition("/")[2] in own.names for m in others if m.interpreter):
        return Interpreter()
    if unread := len(mapped) - len(others):
        return Unknown(f"{unread} of the other {len(mapped)} mapped files could not be read")
    return Opened()
