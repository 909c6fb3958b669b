"""What forbids an installation; pure, over what the survey found."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from libswap.errors.base import LibswapError
from libswap.errors.install import (
    DestinationProtected,
    HardLinked,
    MountPoint,
    NoSpace,
    NotReplaceable,
    SameFile,
    Untrusted,
    WrongMachine,
)
from libswap.install.content import File
from libswap.install.survey import Rights, Source, Survey
from libswap.linux.attributes import InodeFlags


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the caller takes upon himself.

    Attributes:
        force: replace what has other hard links, is no library, or is a mount point elsewhere.
        untrusted_source: install, as root, what others can write to.
        untrusted_directory: install, as root, where others can write.
    """

    force: bool = False
    untrusted_source: bool = False
    untrusted_directory: bool = False


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf we work.

    Attributes:
        uid: the effective user id.
        behind: the user id of the person behind root (sudo), whose own files root may install.
    """

    uid: int
    behind: int | None

    @classmethod
    def current(cls) -> Self:
        """The user that runs us; sudo(8) says in SUDO_UID who typed."""
        said = os.environ.get("SUDO_UID", "")
        behind = int(said) if said.isdecimal() and len(said) < 11 else None
        return cls(os.geteuid(), behind)


def source_obstacles(
    source: Source, survey: Survey, asker: Asker, allowance: Allowance
) -> Iterator[LibswapError]:
    """What forbids installing this source at this destination."""
    yield from _identity(source, survey)
    if asker.uid == 0 and not allowance.untrusted_source:
        reason = _others_write(source.rights) or _others_replace(source.directory_rights)
        if source.rights.uid not in (0, asker.behind):
            reason = f"it belongs to user {source.rights.uid}"
        if reason:
            yield Untrusted(source.path, reason, "--allow-untrusted-source")


def obstacles(survey: Survey, asker: Asker, allowance: Allowance) -> Iterator[LibswapError]:
    """What forbids replacing this destination by anything, the gravest first."""
    yield from _protection(survey)
    yield from _mounts(survey, allowance)
    reason = _others_write(survey.directory_rights)
    if asker.uid == 0 and reason and not allowance.untrusted_directory:
        yield Untrusted(survey.target.directory, reason, "--allow-untrusted-directory")
    if survey.old is None or allowance.force:
        return
    path = survey.target.path
    if survey.old.links > 1:
        yield HardLinked(path, survey.old.links)
    if survey.old.candidate is None:
        yield NotReplaceable(path, f"{survey.old.problem}; --force replaces it all the same")


def no_space(needs: Sequence[tuple[str, int, int]]) -> Iterator[NoSpace]:
    """What will not fit.

    Args:
        needs: for each file system a path on it, the bytes needed, the bytes free.
    """
    for path, needed, free in needs:
        if needed > free:
            yield NoSpace(path, f"{needed:,} bytes are needed and {free:,} are free")


def _identity(source: Source, survey: Survey) -> Iterator[LibswapError]:
    old, new = survey.before, source.file.inode
    if isinstance(old, File) and old.inode and new and old.inode.id == new.id:
        yield SameFile(source.path, survey.target.path)
    if survey.old is not None and survey.old.candidate is not None:
        machine = survey.old.candidate.machine
        if machine != source.candidate.machine:
            yield WrongMachine(source.path, source.candidate.machine, survey.target.path, machine)


def _protection(survey: Survey) -> Iterator[LibswapError]:
    path, directory = survey.target.path, survey.target.directory
    if survey.read_only:
        advice = "Make it writable for the installation: mount -o remount,rw"
        yield DestinationProtected(path, "its file system is mounted read-only", advice)
    for what, flags in (
        (path, survey.old.flags if survey.old else 0),
        (directory, survey.directory_flags),
    ):
        if flags & InodeFlags.IMMUTABLE:
            yield DestinationProtected(what, "it is immutable", f"See lsattr; chattr -i {what}")
        if flags & InodeFlags.APPEND:
            yield DestinationProtected(what, "it is append-only", f"See lsattr; chattr -a {what}")
    if not survey.permitted:
        advice = "Run as root, or as the user that the directory belongs to."
        yield DestinationProtected(path, "you may not write to its directory", advice)


def _mounts(survey: Survey, allowance: Allowance) -> Iterator[LibswapError]:
    path = survey.target.path
    if survey.mounted is not None:
        yield MountPoint(path, survey.mounted.point, None)
    for elsewhere in () if allowance.force else survey.mounted_elsewhere:
        yield MountPoint(path, elsewhere.mount.point, elsewhere.pid)


def _others_write(rights: Rights) -> str:
    if rights.mode & stat.S_IWOTH:
        return "everybody can write to it"
    if rights.mode & stat.S_IWGRP and rights.gid != 0:
        return f"the group {rights.gid} can write to it"
    return ""


def _others_replace(rights: Rights) -> str:
    """Whether others can put another file in its place (in /tmp the sticky bit forbids it)."""
    reason = "" if rights.mode & stat.S_ISVTX else _others_write(rights)
    return reason and f"in its directory, {reason}"
