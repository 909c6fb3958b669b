"""All classes of the error tree."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from libswap import errors
from libswap.errors.base import LibswapError


def error_classes() -> list[type[LibswapError]]:
    """Every class below the root, whichever module it stands in."""
    for module in pkgutil.iter_modules(errors.__path__):
        import_module(f"libswap.errors.{module.name}")
    return list(_below(LibswapError))


def _below(root: type[LibswapError]) -> Iterator[type[LibswapError]]:
    for child in root.__subclasses__():
        yield child
        yield from _below(child)
