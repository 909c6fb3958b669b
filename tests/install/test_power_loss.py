"""Power cuts: what a disk holds before each step is kept, mounted as after a reboot, and recovered.

The file system under test lies in an image behind a loop device and writes nothing of its own
accord (commit=600), so a copy of the image has only what was synced, as a disk after a power cut.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from libswap.install.transaction import Strategy
from libswap.linux import libc
from libswap.operations import install, recover
from libswap.settings import Settings
from support.compiler import Compiler, has
from support.site import library

pytestmark = [pytest.mark.compiler, pytest.mark.root, pytest.mark.namespaces, pytest.mark.slow]

STEPS = ("fsync", "rename", "link", "unlink", "symlink", "mkdir", "copy_file_range")
NAMES = ("liba.so", "libb.so")


@dataclass(frozen=True)
class Kind:
    """A file system: how to make it, to mount it, and to check that it is sound."""

    name: str
    size: int
    make: tuple[str, ...]
    options: str
    check: tuple[str, ...]


EXT4 = Kind("ext4", 24 << 20, ("mkfs.ext4", "-q", "-F"), "loop,commit=600", ("e2fsck", "-f", "-n"))
XFS = Kind("xfs", 300 << 20, ("mkfs.xfs", "-q", "-f"), "loop,nouuid", ("xfs_repair", "-n", "-f"))


@dataclass
class Disks:
    """Images of file systems, mounted in their order at directories of their own."""

    kind: Kind
    root: Path
    count: int
    shots: list[tuple[str, tuple[Path, ...]]] = field(default_factory=list)

    def make(self) -> None:
        for image in self.images:
            with image.open("xb") as file:
                file.truncate(self.kind.size)
            subprocess.run([*self.kind.make, image], capture_output=True, check=True)

    @property
    def images(self) -> tuple[Path, ...]:
        return tuple(self.root / f"{number}.img" for number in range(self.count))

    @property
    def points(self) -> tuple[Path, ...]:
        return tuple(self.root / f"disk{number}" for number in range(self.count))

    def mounted(self, images: Sequence[Path]) -> ExitStack:
        stack = ExitStack()
        for image, point in zip(images, self.points, strict=True):
            point.mkdir(exist_ok=True)
            subprocess.run(["mount", "-o", self.kind.options, image, point], check=True)
            stack.callback(subprocess.run, ["umount", point], check=True)
        return stack

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """From now on, before each step, keep what the disks hold."""
        for name in STEPS:
            monkeypatch.setattr(os, name, self._before(name, getattr(os, name)))
        monkeypatch.setattr(libc, "renameat2", self._before("renameat2", libc.renameat2))

    def _before(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self.shoot(name)
            return function(*arguments, **options)

        return step

    def shoot(self, step: str) -> None:
        copies = tuple(i.with_name(f"{i.name}-{len(self.shots)}") for i in self.images)
        for image, copy in zip(self.images, copies, strict=True):
            subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        self.shots.append((step, copies))

    def require_sound(self, images: Sequence[Path]) -> None:
        for image in images:
            done = subprocess.run([*self.kind.check, image], capture_output=True, check=False)
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("kind", "strategy", "count"),
    [
        pytest.param(EXT4, Strategy.RENAME, 1, id="rename on ext4"),
        pytest.param(EXT4, Strategy.UNLINK, 1, id="unlink on ext4"),
        pytest.param(EXT4, Strategy.RENAME, 2, id="the state on another disk"),
        pytest.param(XFS, Strategy.RENAME, 1, id="rename on XFS"),
    ],
)
def test_after_a_power_cut_all_libraries_are_old_or_all_are_new(
    compiler: Compiler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    strategy: Strategy,
    count: int,
) -> None:
    if not has(kind.make[0]):
        pytest.skip(f"no {kind.make[0]}")
    both = {version: library(compiler, version, soname="").read_bytes() for version in (1, 2)}
    disks = Disks(kind, tmp_path, count)
    disks.make()
    lib, settings = disks.points[0], Settings(state_dir=disks.points[-1] / "state")
    with disks.mounted(disks.images):
        for name in NAMES:
            (lib / name).write_bytes(both[1])
            (tmp_path / name).write_bytes(both[2])
    with disks.mounted(disks.images), monkeypatch.context() as patched:
        plan = install.plan(
            install.Request(
                sources=tuple(str(tmp_path / name) for name in NAMES),
                destination=str(lib),
                strategy=strategy,
            ),
            settings,
        )
        disks.watch(patched)
        install.carry_out(plan, settings)
        disks.shoot("the end")

    def found() -> set[int | None]:
        """The versions of the libraries; None where there is none, 0 for what is torn."""
        held = [(lib / name).read_bytes() if (lib / name).exists() else None for name in NAMES]
        return {next((v for v in both if both[v] == data), data and 0) for data in held}

    ends = []
    for step, copies in disks.shots:
        with disks.mounted(copies):
            assert found() <= ({1, 2} if strategy is Strategy.RENAME else {1, 2, None}), step
            recover.carry_out(settings)
            assert recover.pending(settings) is None
            assert not list(lib.glob(".libswap*")), step
            (end,) = found()
            ends.append(end)
        disks.require_sound(copies)
        for copy in copies:
            copy.unlink()
    assert len(ends) > 20
    assert (ends[0], ends[-1]) == (1, 2)
    assert ends == sorted(ends), "what is new stays new"
