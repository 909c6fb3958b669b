"""The configuration file: TOML, every key known, every value checked, or nothing of it is used."""

import base64
import os
import re
import tomllib
from collections.abc import Iterator
from typing import Final

from libswap.errors.watch import InvalidConfiguration, UntrustedDrop
from libswap.install.replace import open_source
from libswap.watch import hours, signature
from libswap.watch.rule import (
    Accept,
    Configuration,
    Health,
    Limits,
    Metrics,
    Policy,
    Require,
    Rule,
    Survival,
    Trust,
)
from libswap.watch.settle import Patience
from libswap.watch.toml import Table
from libswap.watch.trust import open_trusted, others_write

_MOST: Final = 1 << 20


def load(path: str) -> Configuration:
    """Read a file that only root and we can have written.

    Raises:
        InvalidConfiguration: it cannot be followed; the error names the line or the key.
        SourceUnreadable: it is not there.
        UntrustedDrop: others could write to it.
    """
    real = os.path.realpath(path)
    os.close(open_source(real))
    with open_trusted(os.path.dirname(real), sticky=True) as directory:  # noqa: PTH120
        descriptor = directory.open(os.path.basename(real))  # noqa: PTH119
        try:
            if reason := others_write(os.fstat(descriptor), os.geteuid()):
                raise UntrustedDrop(path, reason)
            data = os.pread(descriptor, _MOST + 1, 0)
        finally:
            os.close(descriptor)
    return parse(data, path)


def parse(data: bytes, path: str) -> Configuration:
    """What the bytes of a file say.

    Raises:
        InvalidConfiguration: they cannot be followed.
    """
    if len(data) > _MOST:
        raise InvalidConfiguration(path, "", f"it is longer than {_MOST:,} bytes")
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidConfiguration(path, "", str(error)) from None
    table = Table(path, "", document)
    rules = tuple(_rule(each) for each in table.tables("drop"))
    found = Configuration(
        rules,
        rescan=table.seconds("rescan", 60.0, least=1.0),
        systemctl=table.take("systemctl", str, "systemctl"),
        metrics=_metrics(table.table("metrics")),
    )
    table.end()
    _require_distinct(table, rules)
    return found


def _rule(table: Table) -> Rule:
    trust = _trust(table.table("trust"))
    found = Rule(
        directory=table.path("directory"),
        to=table.path("to"),
        policy=table.choice("policy", Policy.NONE),
        names=table.words("names", ("*",)),
        ignore=table.words("ignore", ()),
        targets=tuple(_targets(table.table("targets"))),
        new=table.take("new", bool, default=False),
        accept=table.choice("accept", Accept.COMPATIBLE),
        survival=table.choice("survival", Survival.LIKELY),
        patience=_patience(table),
        gather=table.seconds("gather", 60.0),
        quiet=table.each("quiet_hours", hours.parse),
        health=_health(table.table("health")),
        trust=trust,
        limits=_limits(table.table("limits")),
    )
    table.end()
    return found


def _patience(table: Table) -> Patience:
    usual = Patience()
    return Patience(
        settle=table.seconds("settle", usual.settle),
        quiet=table.seconds("settle_unseen", usual.quiet),
        incomplete=table.seconds("incomplete", usual.incomplete),
    )


def _targets(table: Table) -> Iterator[tuple[str, str]]:
    for pattern in tuple(table.values):
        yield pattern, table.path(pattern)


def _health(table: Table) -> Health:
    usual = Health()
    found = Health(
        command=table.words("command", ()),
        timeout=table.seconds("timeout", usual.timeout, most=300.0),
        alive=table.seconds("alive", usual.alive, most=3600.0),
        processes=table.words("processes", usual.processes),
    )
    table.end()
    return found


def _trust(table: Table) -> Trust:
    found = Trust(
        require=table.choice("require", Require.NOTHING),
        minisign_keys=table.each("minisign_keys", _minisign_key),
        ssh_keys=table.each("ssh_keys", _ssh_key),
        ssh_namespace=table.take("ssh_namespace", str, "libswap"),
    )
    table.end()
    has_keys = bool(found.minisign_keys or found.ssh_keys)
    if found.require is not Require.NOTHING and not has_keys:
        raise table.bad("require", "without minisign_keys or ssh_keys no signature can be right")
    if found.require is Require.NOTHING and has_keys:
        raise table.bad("require", 'keys are given; say require = "signature" or "manifest"')
    return found


def _minisign_key(text: str) -> str:
    signature.parse_minisign_key(text)
    return text


def _ssh_key(text: str) -> str:
    kind, _, rest = text.partition(" ")
    if not re.fullmatch(r"[a-z0-9@.-]+", kind) or not text.isprintable():
        raise ValueError('a key is written "ssh-ed25519 AAAA..."')
    base64.b64decode(rest.split(" ")[0], validate=True)
    return text


def _limits(table: Table) -> Limits:
    usual = Limits()
    found = Limits(
        file_bytes=table.size("file_bytes", usual.file_bytes),
        files=table.count("files", usual.files, least=1),
        free_bytes=table.size("free_bytes", usual.free_bytes),
        keep_files=table.count("keep_files", usual.keep_files),
        keep_bytes=table.size("keep_bytes", usual.keep_bytes),
        per_hour=table.count("per_hour", usual.per_hour),
        failures=table.count("failures", usual.failures),
    )
    table.end()
    return found


def _metrics(table: Table) -> Metrics:
    textfile = table.path("textfile") if "textfile" in table.values else ""
    found = Metrics(textfile, table.count("port", 0))
    table.end()
    if found.port > 65535:
        raise table.bad("port", f"{found.port} is no port")
    return found


def _require_distinct(table: Table, rules: tuple[Rule, ...]) -> None:
    if not rules:
        raise table.bad("drop", "there is no [[drop]]: nothing would be watched")
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.directory in seen:
            raise table.bad(f"drop[{number}].directory", "another [[drop]] has the same")
        if rule.to == rule.directory:
            raise table.bad(f"drop[{number}].to", "it is the drop directory itself")
        seen.add(rule.directory)
