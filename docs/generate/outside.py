"""A hook of mkdocs: links to files outside of docs, which no site has, become plain text."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./){2,}[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return OUTSIDE.sub(lambda found: found[1], markdown)
