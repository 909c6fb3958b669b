"""Brings libswap and the library; nothing is sent where the machine has those bytes already."""

from __future__ import annotations

from ansible_collections.libswap.fleet.plugins.plugin_utils.carrier import Carrier


class ActionModule(Carrier):
    """See the module."""

    MODULE = "libswap.fleet.install"

    def unchanged_if(self, args):
        return not args.get("live")
