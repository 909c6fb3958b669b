"""Names of files in texts that may have been written under another locale."""

import os


def as_name(text: str) -> str:
    """The same text, or where no file of this locale can have it as a name, its bytes as UTF-8.

    Raises:
        UnicodeEncodeError: it is a name in no locale.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return text
