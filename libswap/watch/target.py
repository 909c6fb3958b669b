"""Which installed library a dropped one replaces: by rule, by file name, or by SONAME."""

from collections.abc import Callable
from enum import Enum
from fnmatch import fnmatchcase

from libswap.errors.watch import DropRefused
from libswap.watch.rule import Rule


class Standing(Enum):
    """What a name in the directory of installed libraries stands for."""

    NOTHING = "nothing"
    LINK = "link"
    FILE = "file"


def target_of(name: str, soname: str | None, rule: Rule, stands: Callable[[str], Standing]) -> str:
    """The destination for an installation.

    Args:
        name: of the dropped file.
        soname: its DT_SONAME.
        rule: of its directory.
        stands: what a name in the directory of installed libraries stands for.

    Raises:
        DropRefused: it maps to nothing.
    """
    if not any(fnmatchcase(name, pattern) for pattern in rule.names):
        raise DropRefused(name, f"its name is none of {', '.join(rule.names)}")
    for pattern, path in rule.targets:
        if fnmatchcase(name, pattern):
            return path
    if stands(name) is not Standing.NOTHING:
        return f"{rule.to}/{name}"
    if soname is not None and "/" not in soname:
        match stands(soname):
            case Standing.LINK if name.startswith(f"{soname}."):
                return rule.to  # a further version: beside the old one, and the link moves to it
            case Standing.LINK | Standing.FILE:
                return f"{rule.to}/{soname}"
            case Standing.NOTHING:
                pass
    if rule.new:
        return rule.to
    said = f"of its name or its SONAME {soname}" if soname else "of its name, and it has no SONAME"
    raise DropRefused(
        name, f"there is nothing {said} in {rule.to} that it could replace; new = true allows it"
    )
