"""What the functions take and return, under names that differ from one another."""

from libswap.abi.finding import Finding
from libswap.abi.finding import Severity as FindingSeverity
from libswap.abi.verdict import Verdict
from libswap.errors.base import LibswapError
from libswap.install.obstacles import Allowance
from libswap.install.transaction import Strategy
from libswap.live.draining.record import Then as DrainThen
from libswap.live.outlook import Options as SwapOptions
from libswap.operations.check import Check
from libswap.operations.draining import (
    DrainBegun,
    DrainOptions,
    DrainPlanned,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.draining import Left as DrainLeft
from libswap.operations.handles import Drafted as HandlesDrafted
from libswap.operations.handles import Listed as HandlesListed
from libswap.operations.handles import Shown as HandlesShown
from libswap.operations.history import Told as History
from libswap.operations.install import Installed
from libswap.operations.install import Plan as InstallPlan
from libswap.operations.install_live import LiveInstalled
from libswap.operations.moves import (
    Moved,
    MovedBack,
    Planned,
    ProcessResult,
    Refused,
    Skipped,
    StillMoved,
)
from libswap.operations.moves import Report as SwapReport
from libswap.operations.patch_apply import Report as PatchReport
from libswap.operations.patch_build import Built as PatchBuilt
from libswap.operations.patch_entries import Options as PatchOptions
from libswap.operations.patch_revert import Report as PatchRevertReport
from libswap.operations.patch_show import Shown as PatchShown
from libswap.operations.patch_status import Listed as Patches
from libswap.operations.prune import Plan as PrunePlan
from libswap.operations.prune import Pruned
from libswap.operations.recover import Recovered
from libswap.operations.revert import Report as RevertReport
from libswap.operations.rollback import Plan as RollbackPlan
from libswap.operations.rollback import RolledBack
from libswap.operations.status import Status
from libswap.scan.scanner import Scan
from libswap.scan.usage import Usage
from libswap.settings import Settings

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
]
