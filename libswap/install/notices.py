"""What one should know before a library is replaced, though it does not forbid it; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from libswap.install.content import File
from libswap.install.packages import Owner
from libswap.install.survey import Survey


class Concern(Enum):
    """What a notice is about."""

    PACKAGE = "package"
    MOUNT = "mount"
    OWNER = "owner"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know.

    Attributes:
        concern: what it is about.
        path: the destination.
        text: what will be.
        advice: what to do about it; empty where there is nothing.
    """

    concern: Concern
    path: str
    text: str
    advice: str = ""


def notices(surveys: Iterable[Survey], owners: Iterable[Owner], uid: int) -> Iterator[Notice]:
    """Everything that one should know, destination by destination.

    Args:
        surveys: the destinations.
        owners: the packages that own some of them.
        uid: the effective user id.
    """
    for owner in owners:
        text = f"belongs to the package {owner.package}, whose next upgrade overwrites it"
        yield Notice(Concern.PACKAGE, owner.path, text, f"to keep it: {owner.advice}")
    for survey in surveys:
        yield from _mounts(survey)
        yield from _owner(survey, uid)
        yield from _links(survey)


def _mounts(survey: Survey) -> Iterator[Notice]:
    for elsewhere in survey.shown_elsewhere:
        yield Notice(
            Concern.MOUNT,
            survey.target.path,
            f"is mounted by itself at {elsewhere.mount.point} in the mount namespace of process "
            f"{elsewhere.pid}, which goes on showing the old file, to new processes too",
            "start that container anew afterwards",
        )


def _owner(survey: Survey, uid: int) -> Iterator[Notice]:
    old = survey.before
    if uid and isinstance(old, File) and old.attributes and old.attributes.uid != uid:
        text = f"belongs to user {old.attributes.uid} and will belong to you ({uid})"
        yield Notice(Concern.OWNER, survey.target.path, text)


def _links(survey: Survey) -> Iterator[Notice]:
    if survey.old is not None and survey.old.links > 1:
        text = f"has {survey.old.links} hard links; the others keep the old library"
        yield Notice(Concern.LINK, survey.target.path, text)
