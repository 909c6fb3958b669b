"""Foreign text made safe for a terminal."""


def printable(text: str) -> str:
    r"""`text` on one line, with control characters and undecodable bytes shown as escapes.

    File names and command lines belong to strangers: an escape sequence in one must not reach the
    terminal, nor a newline forge a second row.

    Example:
        >>> printable("lib\x1b[2J.so\n")
        'lib\\x1b[2J.so\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
