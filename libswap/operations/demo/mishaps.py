"""The ways in which people replace a library without libswap, each on a process that uses it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from libswap.operations.demo.result import Scene
from libswap.operations.demo.stage import Stage
from libswap.operations.demo.workshop import Workshop

LIB: Final = Stage.LIBRARY
NEW: Final = Stage.NEW


def closed_then_cp(stage: Stage) -> None:
    """Nobody has the file mapped when it is truncated; a scan later cannot know that."""
    stage.load()
    stage.call()
    stage.close()
    stage.let_the_clock_move_on()
    stage.run("cp", NEW, LIB)
    stage.load()
    stage.call()


def cp_over_loaded(stage: Stage) -> None:
    """cp(1) truncates the file: the relocated pages of the process are gone."""
    stage.load()
    stage.call()
    stage.run("cp", NEW, LIB)
    stage.call()


def junk_over_loaded(stage: Stage) -> None:
    """The pages of the code lie behind the end of the file now."""
    stage.load()
    stage.call()
    stage.write("junk")
    stage.call()


def install_then_reload(stage: Stage) -> None:
    """install(1) unlinks first: the new file has an inode of its own."""
    stage.load()
    stage.call()
    stage.run("install", NEW, LIB)
    stage.close()
    stage.load()
    stage.call()


def install_then_load_again(stage: Stage) -> None:
    """The dynamic linker finds the name among what it has loaded and opens nothing."""
    stage.load()
    stage.call()
    stage.run("install", NEW, LIB)
    stage.load()
    stage.call()


def rm_then_cp(stage: Stage) -> None:
    """The mapping keeps the inode; its name is gone."""
    stage.load()
    stage.call()
    stage.run("rm", LIB)
    stage.run("cp", NEW, LIB)
    stage.call()


def mv_then_cp(stage: Stage) -> None:
    """The mapping keeps the inode, under its other name."""
    stage.load()
    stage.call()
    stage.let_the_clock_move_on()
    stage.run("mv", LIB, f"{LIB}.bak")
    stage.run("cp", NEW, LIB)
    stage.call()


def overwritten_in_place(stage: Stage) -> None:
    """Without truncation nobody dies: the process runs new code on old data, unasked."""
    stage.load()
    stage.call()
    stage.run("dd", f"if={NEW}", f"of={LIB}", "conv=notrunc")
    stage.call()


MISHAPS: Final[dict[str, Callable[[Stage], None]]] = {
    "closed, then cp over it": closed_then_cp,
    "cp over it while loaded": cp_over_loaded,
    "junk over it while loaded": junk_over_loaded,
    "install over it, close, load": install_then_reload,
    "install over it, load again": install_then_load_again,
    "rm, then cp": rm_then_cp,
    "mv, then cp": mv_then_cp,
    "overwritten in place": overwritten_in_place,
}


def play(directory: Path, workshop: Workshop) -> Iterator[Scene]:
    """Every mishap, each in a process and a directory of its own."""
    for number, (name, act) in enumerate(MISHAPS.items(), start=1):
        with Stage(directory / str(number), workshop) as stage:
            act(stage)
            yield stage.scene(name)
