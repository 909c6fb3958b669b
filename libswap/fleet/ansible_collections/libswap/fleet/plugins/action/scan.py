"""Brings libswap for the module of this name."""

from __future__ import annotations

from ansible_collections.libswap.fleet.plugins.plugin_utils.carrier import Carrier


class ActionModule(Carrier):
    """See the module."""

    MODULE = "libswap.fleet.scan"
