"""Upgrade shared libraries on Linux without breaking the programs that use them."""

TYPE_CHECKING = False  # what type checkers take for true; typing itself costs as much as --version
if TYPE_CHECKING:
    from libswap.api.draining import (
        draft_handles,
        drain,
        list_handles,
        settle,
        show_handles,
    )
    from libswap.api.installation import (
        history,
        install_and_swap,
        install_library,
        plan_install,
        prune,
        recover,
        rollback,
    )
    from libswap.api.libraries import (
        check,
        scan_files,
        scan_machine,
    )
    from libswap.api.patches import (
        apply_patch,
        build_patch,
        list_patches,
        revert_patch,
        show_patch,
        verify_patches,
    )
    from libswap.api.processes import (
        revert,
        status,
        swap,
    )
    from libswap.api.results import (
        Allowance,
        Check,
        DrainBegun,
        DrainLeft,
        DrainOptions,
        DrainPlanned,
        DrainThen,
        Finding,
        FindingSeverity,
        HandlesDrafted,
        HandlesListed,
        HandlesShown,
        History,
        Installed,
        InstallPlan,
        LibswapError,
        LiveInstalled,
        Moved,
        MovedBack,
        PatchBuilt,
        Patches,
        PatchOptions,
        PatchReport,
        PatchRevertReport,
        PatchShown,
        Planned,
        ProcessResult,
        Pruned,
        PrunePlan,
        Recovered,
        Refused,
        RevertReport,
        RollbackPlan,
        RolledBack,
        Scan,
        Settings,
        Settled,
        Skipped,
        Status,
        StillDraining,
        StillMoved,
        Strategy,
        SwapOptions,
        SwapReport,
        TakenBack,
        Usage,
        Verdict,
    )

__version__ = "0.1.0"

_HOMES = {
    "check scan_files scan_machine": "libraries",
    "draft_handles drain list_handles settle show_handles": "draining",
    "history install_and_swap install_library plan_install prune recover rollback": "installation",
    "revert status swap": "processes",
    "apply_patch build_patch list_patches revert_patch show_patch verify_patches": "patches",
}
"""Which module of libswap.api has a function; what is no function is in its results."""

__all__ = [
    "Allowance",
    "Check",
    "DrainBegun",
    "DrainLeft",
    "DrainOptions",
    "DrainPlanned",
    "DrainThen",
    "Finding",
    "FindingSeverity",
    "HandlesDrafted",
    "HandlesListed",
    "HandlesShown",
    "History",
    "InstallPlan",
    "Installed",
    "LibswapError",
    "LiveInstalled",
    "Moved",
    "MovedBack",
    "PatchBuilt",
    "PatchOptions",
    "PatchReport",
    "PatchRevertReport",
    "PatchShown",
    "Patches",
    "Planned",
    "ProcessResult",
    "PrunePlan",
    "Pruned",
    "Recovered",
    "Refused",
    "RevertReport",
    "RollbackPlan",
    "RolledBack",
    "Scan",
    "Settings",
    "Settled",
    "Skipped",
    "Status",
    "StillDraining",
    "StillMoved",
    "Strategy",
    "SwapOptions",
    "SwapReport",
    "TakenBack",
    "Usage",
    "Verdict",
    "apply_patch",
    "build_patch",
    "check",
    "draft_handles",
    "drain",
    "history",
    "install_and_swap",
    "install_library",
    "list_handles",
    "list_patches",
    "plan_install",
    "prune",
    "recover",
    "revert",
    "revert_patch",
    "rollback",
    "scan_files",
    "scan_machine",
    "settle",
    "show_handles",
    "show_patch",
    "status",
    "swap",
    "verify_patches",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What is public, imported when it is first asked for: a scan needs little."""
        if name not in __all__:
            raise AttributeError(f"module 'libswap' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  --version does without

        homes = (home for names, home in _HOMES.items() if name in names.split())
        module = import_module(f"libswap.api.{next(homes, 'results')}")
        globals()[name] = getattr(module, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
