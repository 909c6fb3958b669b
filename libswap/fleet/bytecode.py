"""Modules as the interpreter keeps them compiled, the same bytes for the same source."""

import marshal
import warnings
from importlib.util import MAGIC_NUMBER, source_hash
from typing import Final

_UNCHECKED: Final = (1).to_bytes(4, "little")  # known by a hash that is not compared: PEP 552
_WITHOUT_REFERENCES: Final = 2
"""Later formats of marshal tell which objects the rest of this process refers to as well."""


def bytecode(source: bytes, name: str) -> bytes:
    """What the import system reads beside a source; another version of Python passes it over.

    Args:
        source: of the module.
        name: of its file, for tracebacks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever wrote it has seen them
        code = compile(source, name, "exec", dont_inherit=True)
    head = MAGIC_NUMBER + _UNCHECKED + source_hash(source)
    return head + marshal.dumps(code, _WITHOUT_REFERENCES)
