"""What is to be loaded into a process, and what there is then."""

from dataclasses import dataclass, field

from libswap.linux.memory import Range
from libswap.live.library import Name


@dataclass(frozen=True, slots=True)
class Question:
    """An exported name whose address only a resolver knows (STT_GNU_IFUNC).

    Attributes:
        name: the symbol.
        old: address of its resolver in the copy in use.
        new: virtual address of its resolver in the new file.
    """

    name: Name
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """One library that is to be there.

    Attributes:
        path: of the file as the process sees it; "" where it is loaded already.
        keep: l_name of the copy in use, of which a reference is taken so that it stays.
        content: what the process gets in memory instead of the file.
        everywhere: whether later modules may bind to what only the new library has.
        questions: what to ask resolvers.
        handle: the copy to move to, where it is loaded already.
    """

    path: str
    keep: str
    content: bytes | None = field(default=None, repr=False)
    everywhere: bool = False
    questions: tuple[Question, ...] = ()
    handle: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted in the process.

    Attributes:
        libraries: in the order in which they are loaded.
        near: the extents of the copies in use and what lies between them.
        neighbour: the handle of a copy in use, where its namespace is not the first.
        area: bytes of executable memory near `near`; 0 for none.
        record: bytes for a new record; 0 where there is one that is large enough.
        taken: names that the dynamic linker has given to what it loaded.
    """

    libraries: tuple[Wanted, ...]
    near: Range
    neighbour: int = 0
    area: int = 0
    record: int = 0
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Opened:
    """One library that is there now.

    Attributes:
        handle: of the new copy: the address of its link map.
        kept: the handle by which the copy in use is kept; 0 where it was not asked for.
        answers: for each question the address in the old copy and in the new one.
        path: of its file; "" where it was loaded already.
    """

    handle: int
    kept: int = 0
    answers: dict[Name, tuple[int, int]] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What there is now.

    Attributes:
        libraries: as they were asked for.
        area: address of the executable memory, 0 for none.
        record: address of the mapping for the record, 0 for none.
    """

    libraries: tuple[Opened, ...]
    area: int = 0
    record: int = 0
