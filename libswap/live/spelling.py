"""Other spellings of a path, by which the dynamic linker loads the same name once more.

It looks for a name among those it has loaded before it looks for the file (glibc, dl-load.c).
"""

from collections.abc import Collection


def spelled(path: str, taken: Collection[str]) -> str:
    """Another spelling of an absolute path, which the dynamic linker does not know yet."""
    directory, _, name = path.rpartition("/")
    for count in range(2, len(taken) + 3):
        candidate = f"{directory}{'/' * count}{name}"
        if candidate not in taken:
            return candidate
    raise AssertionError("more spellings than names")


def is_spelled(name: str) -> bool:
    """Whether `spelled` made the name."""
    return name.rpartition("/")[0].endswith("/")
