"""Upgrade shared libraries on Linux without breaking the programs that use them."""

__version__ = "0.1.0"
