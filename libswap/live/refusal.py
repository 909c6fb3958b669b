"""Why a process cannot be worked on, found out before anything is touched."""

from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError, SystemRefused
from libswap.errors.live import NotSwappable
from libswap.errors.process import (
    ProcessGone,
    ProcessZombie,
    SeccompForbids,
    ShadowStackActive,
    ThreadUnstoppable,
    TracedByAnother,
    TracingForbidden,
    WrongProgramClass,
)
from libswap.linux.address_space import shares_memory
from libswap.linux.procfs import PROC
from libswap.linux.tracer import unbroken
from libswap.live.thread import Thread, ThreadGone, live_threads, states
from libswap.live.tracee import let_go
from libswap.process.freezer import frozen
from libswap.process.identity import Identity

_YAMA: Final = "sys/kernel/yama/ptrace_scope"
_CAP_SYS_PTRACE: Final = 1 << 19
_CAP_SYS_ADMIN: Final = 1 << 21
_SECCOMP_STRICT: Final = 1
_SECCOMP_FILTER: Final = 2
_EM_386: Final = 3
# Where the kernel holds the tasks of a frozen cgroup: v2 (do_freezer_trap() may be inlined), v1.
_FREEZERS: Final = frozenset({"get_signal", "do_freezer_trap", "__refrigerator"})


def require_fit(identity: Identity) -> None:
    """Make sure that a process can be traced and understood; it is not stopped for that.

    Raises:
        ProcessGone: it has ended.
        ProcessZombie: it has ended and its parent has not asked for it yet.
        TracedByAnother: a debugger or another libswap has it.
        WrongProgramClass: it is no 64-bit x86-64 program.
        ShadowStackActive: its return addresses are kept a second time by the CPU.
        SeccompForbids: a filter forbids what would have to be done, and cannot be lifted.
        NotSwappable: it is a vfork child, whose memory is its parent's.
        ThreadUnstoppable: no thread of it can stop, or its cgroup is frozen.
        TracingForbidden: the kernel does not let us trace it, and why.
    """
    identity.check()
    status = _status(identity.pid)
    if status.get("State", "").startswith("Z") and not _living(identity.pid):
        raise ProcessZombie(identity.pid, int(status.get("PPid", "0")))
    tracer = int(status.get("TracerPid", "0"))
    if tracer:
        raise TracedByAnother(identity.pid, tracer, _name(tracer))
    require_class(identity.pid)
    if "shstk" in status.get("x86_Thread_features", "").split():
        raise ShadowStackActive(identity.pid)
    _require_lenient_seccomp(identity.pid, int(status.get("Seccomp", "0")))
    _require_own_memory(identity.pid, int(status.get("PPid", "0")))
    _require_stoppable(identity.pid)
    _require_tracing(identity.pid, status)


def needs_lifting(pid: int) -> bool:
    """Whether a process has a seccomp filter that has to be suspended while it works for us."""
    return int(_status(pid).get("Seccomp", "0")) == _SECCOMP_FILTER


def require_class(pid: int) -> None:
    """Make sure that the program is a 64-bit one; what it keeps in memory means nothing else.

    Raises:
        WrongProgramClass: it is not.
    """
    try:
        with open(PROC.path(pid, "exe"), "rb", buffering=0) as program:  # noqa: PTH123  a proc link
            head = program.read(20)
    except OSError:
        return  # the registers tell when it is stopped
    machine = int.from_bytes(head[18:20], "little")
    if head[4:5] != b"\2":
        raise WrongProgramClass(pid, "32-bit" if machine == _EM_386 else "x32")


def _require_lenient_seccomp(pid: int, mode: int) -> None:
    if mode == _SECCOMP_STRICT:
        raise SeccompForbids(pid, "strict mode allows read, write and exit alone")
    if mode == _SECCOMP_FILTER and not _may_lift():
        raise SeccompForbids(pid, "its filter cannot be suspended without CAP_SYS_ADMIN")


def _may_lift() -> bool:
    """Whether PTRACE_O_SUSPEND_SECCOMP is ours to set (ptrace(2))."""
    own = _status("self")
    return _effective(own) & _CAP_SYS_ADMIN != 0 and own.get("Seccomp", "0") == "0"


def _require_own_memory(pid: int, parent: int) -> None:
    """The parent's threads would not be stopped when the memory that both have is changed."""
    if parent and shares_memory(pid, parent):
        raise NotSwappable(
            "vfork-child",
            f"it is a vfork child and works in the memory of its parent, process {parent}",
            "try again when it has executed its program or ended",
        )


def _require_stoppable(pid: int) -> None:
    """One that is seized and does not stop would hang as soon as it could, while we live."""
    letters = states(pid)
    if frozen(pid):
        tid, letter = next(iter(letters.items()))
        raise ThreadUnstoppable(pid, tid, f"{letter}: its cgroup is frozen")
    for tid, letter in letters.items():  # where the hierarchy is not mounted here
        if letter in "SD" and _waits_in(pid, tid) in _FREEZERS:
            raise ThreadUnstoppable(pid, tid, f"{letter}: its cgroup is frozen")
    if set(letters.values()) == {"D"}:
        raise ThreadUnstoppable(pid, next(iter(letters)), "D")


def _waits_in(pid: int, tid: int) -> str:
    try:
        return PROC.read(pid, f"task/{tid}/wchan").decode("ascii", "replace")
    except OSError:
        return ""


def _require_tracing(pid: int, status: dict[str, str]) -> None:
    """Try it on one thread; where it is refused, say why as exactly as can be known."""
    for tid, letter in states(pid).items():
        if letter == "D":
            continue
        thread = Thread(pid, tid)
        try:
            with unbroken():
                thread.seize()
                let_go([thread])
        except ThreadGone:
            continue
        except SystemRefused as error:
            raise _explained(pid, status, error) from None
        return
    raise ProcessGone(pid)


def _explained(pid: int, status: dict[str, str], error: SystemRefused) -> LibswapError:
    tracer = int(_status(pid).get("TracerPid", "0"))
    if tracer:
        return TracedByAnother(pid, tracer, _name(tracer))
    scope = _yama_scope()
    own = _status("self")
    capable = _effective(own) & _CAP_SYS_PTRACE != 0
    if scope >= 3:
        return TracingForbidden(pid, "Yama forbids all tracing (kernel.yama.ptrace_scope = 3)")
    if PROC.link("self", "ns/user") != _user_namespace(pid):
        return TracingForbidden(pid, "it lives in another user namespace")
    if not capable and own.get("Uid", "").split()[:1] != status.get("Uid", "").split()[:1]:
        return TracingForbidden(pid, f"it belongs to user {status.get('Uid', '?').split()[0]}")
    if not capable and scope:
        return TracingForbidden(pid, f"Yama allows it to root only (ptrace_scope = {scope})")
    if not capable and _not_dumpable(pid, status):
        return TracingForbidden(pid, "it has declared itself not dumpable (prctl(2))")
    return TracingForbidden(pid, f"the kernel refused: {error.reason}")


def _user_namespace(pid: int) -> str:
    try:
        return PROC.link(pid, "ns/user")
    except OSError:
        return PROC.link("self", "ns/user")  # hidden like everything of another user's process


def _not_dumpable(pid: int, status: dict[str, str]) -> bool:
    owner = Path(PROC.path(pid, "stat")).stat().st_uid
    return owner == 0 and status.get("Uid", "0").split()[1:2] != ["0"]


def _yama_scope() -> int:
    try:
        return int(PROC.read_file(_YAMA))
    except OSError:
        return 0


def _effective(status: dict[str, str]) -> int:
    return int(status.get("CapEff", "0"), 16)


def _living(pid: int) -> bool:
    try:
        return bool(live_threads(pid))
    except ProcessGone:
        return False


def _name(pid: int) -> str:
    return _status(pid).get("Name", "")


def _status(pid: int | str) -> dict[str, str]:
    """The fields of proc_pid_status(5); empty where there is no such process."""
    try:
        text = PROC.read(pid, "status").decode("utf-8", "backslashreplace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.partition(":") for line in text.split("\n"))
    return {key: value.strip() for key, _, value in pairs}
