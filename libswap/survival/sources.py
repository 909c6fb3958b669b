"""The files that are compared, and what is read of their code."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.elf.format import EM_X86_64
from libswap.elf.image import Image
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code
from libswap.survival.forms import Forms
from libswap.survival.steps import Steps


@dataclass(frozen=True, slots=True)
class Source:
    """One of the two.

    Attributes:
        image: the file itself.
        symbols: the file that holds its .symtab, where it is another one.
        debug: the file that holds its debug information; None where there is none.
    """

    image: Image
    symbols: Image | None = None
    debug: Image | None = None

    @property
    def readable(self) -> bool:
        """Whether it is of the machine whose code can be read."""
        return self.image.header.machine == EM_X86_64 and self.image.header.bits == 64


_Both: TypeAlias = tuple[Bodies, Bodies]
_READ: Final[ContextVar[dict[object, _Both] | None]] = ContextVar("read", default=None)
"""What is read of the last two files, where it is wanted twice."""


@contextmanager
def read_once() -> Iterator[None]:
    """Read the code of two files once, although both the verdict and the pairing ask for it.

    Of a library of 5 MB it takes 150 MB, so whoever comes second is the last to have it.
    """
    token = _READ.set({})
    try:
        yield
    finally:
        _READ.reset(token)


def bodies(old: Source, new: Source) -> tuple[Bodies, Bodies]:
    """The functions of two files.

    Raises:
        MissingTool: iced-x86 is not installed.
    """
    files = [(source.image, source.symbols) for source in (old, new)]
    read, key = _READ.get(), tuple(files)
    if read is not None and key in read:
        return read.pop(key)
    forms = Forms(Steps())
    before, after = (Bodies(Code(*file), forms) for file in files)
    if read is not None:
        read.clear()
        read[key] = before, after
    return before, after
