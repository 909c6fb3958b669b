"""What the demo saw: one scene for each way of replacing a library."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process said when it was asked.

    Attributes:
        code: the version in the code that ran.
        data: the version in the data that this code read.
    """

    code: int
    data: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One process and one library that was replaced under it.

    Attributes:
        name: what the scene is about.
        steps: what was done, in order; everything but "load", "call" and "close" is a command.
        died_of: the name of the signal that ended the process, None when it lived.
        answers: what it said at each "call" that it survived.
        same_handle: whether a load while the library was loaded gave the handle that was there;
            None where there was no such load.
        mapped: what the last line of its maps said about the code in use; "" when it died.
        mapped_is_file: whether that is the file that has the library's name now.
        scanned: what `libswap scan` found its library to be, such as "replaced"; "" when it died.
    """

    name: str
    steps: tuple[str, ...]
    died_of: str | None
    answers: tuple[Answer, ...]
    same_handle: bool | None
    mapped: str
    mapped_is_file: bool
    scanned: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service said when it was asked.

    Attributes:
        code: the version in the code that ran.
        count: how many times it has been asked; the library counts.
    """

    code: int
    count: int


@dataclass(frozen=True, slots=True)
class Act:
    """One command of ours, on a library that a running service is linked against.

    Attributes:
        command: what was done.
        said: what came of it, in a few words.
        pid: the service; one process through all acts.
        before: what it answered before.
        after: what it answered afterwards.
        fresh: what a service answered that was started afterwards.
        mapped: what the maps of the first one say about code of the library afterwards.
    """

    command: str
    said: str
    pid: int
    before: Reply
    after: Reply
    fresh: Reply
    mapped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """All that was shown.

    Attributes:
        compiler: what built the programs and libraries.
        scenes: ways to replace a library without libswap, each on a process of its own.
        acts: the way with libswap, on one process.
    """

    compiler: str
    scenes: tuple[Scene, ...]
    acts: tuple[Act, ...]
