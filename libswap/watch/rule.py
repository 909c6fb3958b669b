"""What the configuration says of one drop directory."""

from dataclasses import dataclass, field
from enum import Enum

from libswap.watch.hours import Span
from libswap.watch.settle import Patience


class Policy(Enum):
    """What becomes of the processes that run an old library."""

    NONE = "none"
    LIVE = "live"
    RESTART = "restart"


class Accept(Enum):
    """The worst verdict of the comparison with the old library that is good enough."""

    COMPATIBLE = "compatible"
    WARNINGS = "warnings"
    ANY = "any"


class Survival(Enum):
    """The worst verdict on the objects of running processes with which these are moved."""

    LIKELY = "likely"
    UNKNOWN = "unknown"


class Require(Enum):
    """What must speak for a file."""

    NOTHING = "nothing"
    SIGNATURE = "signature"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Health:
    """What must hold after a deployment, or it is taken back.

    Attributes:
        command: must succeed; empty for none.
        timeout: seconds that it may take.
        alive: seconds that the processes concerned must stay alive.
        processes: patterns of the names of those that count.
    """

    command: tuple[str, ...] = ()
    timeout: float = 30.0
    alive: float = 0.0
    processes: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose files are deployed.

    Attributes:
        require: a signature of each file, a signed manifest that lists it, or nothing.
        minisign_keys: public keys as minisign writes them.
        ssh_keys: public keys as ssh-keygen writes them.
        ssh_namespace: what `ssh-keygen -Y sign -n` was given.
    """

    require: Require = Require.NOTHING
    minisign_keys: tuple[str, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    ssh_namespace: str = "libswap"


@dataclass(frozen=True, slots=True)
class Limits:
    """What cannot be exceeded, whatever is dropped.

    Attributes:
        file_bytes: of one file.
        files: in one manifest.
        free_bytes: that stay free on each file system that is written to.
        keep_files: in deployed/, and in rejected/; the oldest are removed.
        keep_bytes: likewise.
        per_hour: deployments within an hour; 0 for any number.
        failures: one after the other that stop the rule; 0 for any number.
    """

    file_bytes: int = 1 << 30
    files: int = 100
    free_bytes: int = 256 << 20
    keep_files: int = 100
    keep_bytes: int = 1 << 30
    per_hour: int = 0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """One drop directory.

    Attributes:
        directory: where files are dropped, absolute.
        to: the directory of the libraries that they replace, absolute.
        policy: what becomes of running processes.
        names: patterns of file names that are taken; others are refused.
        ignore: patterns of further names that are left alone.
        targets: patterns of file names, each with the file that it replaces, absolute.
        new: whether a library that replaces nothing may be added.
        accept: the verdict needed.
        survival: the verdict on live objects that is needed to move processes.
        patience: when a file has settled.
        gather: seconds to wait for signature, manifest, or what a manifest lists.
        quiet: when nothing is deployed.
        health: what must hold afterwards.
        trust: whose files are deployed.
        limits: bounds.
    """

    directory: str
    to: str
    policy: Policy = Policy.NONE
    names: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()
    targets: tuple[tuple[str, str], ...] = ()
    new: bool = False
    accept: Accept = Accept.COMPATIBLE
    survival: Survival = Survival.LIKELY
    patience: Patience = field(default_factory=Patience)
    gather: float = 60.0
    quiet: tuple[Span, ...] = ()
    health: Health = field(default_factory=Health)
    trust: Trust = field(default_factory=Trust)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where figures for Prometheus go.

    Attributes:
        textfile: a file for node_exporter's textfile collector; "" for none.
        port: of the loopback interface; 0 for none.
    """

    textfile: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """All drop directories, and what they have in common.

    Attributes:
        rules: one for each drop directory.
        rescan: seconds after which every directory is looked through, whatever events said.
        systemctl: the program that restarts units.
        metrics: where figures go.
    """

    rules: tuple[Rule, ...]
    rescan: float = 60.0
    systemctl: str = "systemctl"
    metrics: Metrics = field(default_factory=Metrics)
