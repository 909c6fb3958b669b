"""The configuration file: what is understood, and what is refused with the line or the key."""

import os
import re
from pathlib import Path

import pytest

from libswap.errors.watch import InvalidConfiguration, UntrustedDrop
from libswap.watch.configuration import load, parse
from libswap.watch.rule import Accept, Policy, Survival

DROP = b'[[drop]]\ndirectory = "/srv/drop"\nto = "/usr/lib"\n'
REFERENCE = Path(__file__).parents[2] / "docs/reference/watch-configuration.md"
EXAMPLE = Path(__file__).parents[2] / "packaging/watch.toml"


def test_every_key_arrives() -> None:
    found = parse(
        b"rescan = 10\nsystemctl = '/bin/systemctl'\n" + DROP + b"""
policy = "live"
accept = "warnings"
survival = "unknown"
quiet_hours = ["22:00-06:00"]
[drop.targets]
"libx*" = "/opt/libx.so"
[drop.health]
command = ["true"]
alive = 3
[drop.limits]
file_bytes = "2 MiB"
[metrics]
port = 9999
""", "f")  # fmt: skip
    (rule,) = found.rules
    assert (found.rescan, found.systemctl, found.metrics.port) == (10.0, "/bin/systemctl", 9999)
    assert (rule.policy, rule.accept) == (Policy.LIVE, Accept.WARNINGS)
    assert rule.survival is Survival.UNKNOWN
    assert (rule.targets, rule.health.alive) == ((("libx*", "/opt/libx.so"),), 3.0)
    assert rule.limits.file_bytes == 2 << 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"x = 3\ny = = 4", "line 2"),
        (b"\xff", "utf-8"),
        (b"", "nothing would be watched"),
        (b"drop = 3", "drop: a list is expected"),
        (b"drop = [3]", "drop[0]: a table is expected"),
        (b'[[drop]]\nto = "/x"', "drop[0].directory: it is missing"),
        (b'[[drop]]\ndirectory = "srv"\nto = "/x"', "drop[0].directory: an absolute path"),
        (DROP + b"polcy = 3", "drop[0].polcy: no such key"),
        (DROP + b"new = 1", "drop[0].new: true or false is expected"),
        (DROP + b'policy = "now"', "drop[0].policy: 'now' is none of: none, live, restart"),
        (DROP + b'survival = "unsafe"', "survival: 'unsafe' is none of: likely, unknown"),
        (DROP + b"settle = -1", "drop[0].settle: -1 seconds"),
        (DROP + b"settle = nan", "drop[0].settle: nan seconds"),
        (DROP + b"names = [3]", "drop[0].names: a list of words"),
        (DROP + b'quiet_hours = ["x"]', "drop[0].quiet_hours[0]: a span"),
        (DROP + b"[drop.limits]\nfiles = 0", "drop[0].limits.files: it must be at least 1"),
        (DROP + b'[drop.limits]\nfile_bytes = "1 XB"', "drop[0].limits.file_bytes: a size"),
        (DROP + b'[drop.trust]\nrequire = "signature"', "without minisign_keys or ssh_keys"),
        (DROP + b'[drop.trust]\nminisign_keys = ["RWx"]', "drop[0].trust.minisign_keys[0]"),
        (DROP + b'[drop.trust]\nssh_keys = ["*"]', "drop[0].trust.ssh_keys[0]"),
        (DROP + DROP, "drop[1].directory: another [[drop]] has the same"),
        (DROP.replace(b"/usr/lib", b"/srv/drop"), "drop[0].to: it is the drop directory itself"),
        (DROP + b"[metrics]\nport = 70000", "metrics.port: 70000 is no port"),
        (b"#" * (2 << 20), "it is longer than"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, said: str) -> None:
    with pytest.raises(InvalidConfiguration, match=re.escape(said)):
        parse(text, "f")


@pytest.mark.root
def test_a_file_that_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_bytes(DROP)
    load(str(path))
    path.chmod(0o666)
    with pytest.raises(UntrustedDrop, match="everybody"):
        load(str(path))
    path.chmod(0o644)
    os.chown(path, 12345, -1)
    with pytest.raises(UntrustedDrop, match="user 12345"):
        load(str(path))


def test_the_example_is_understood_and_every_key_is_in_the_reference() -> None:
    parse(EXAMPLE.read_bytes(), str(EXAMPLE))
    known = set(re.findall(r"^#? ?([a-z_]+) =", EXAMPLE.read_text(), re.MULTILINE))
    documented = set(re.findall(r"`([a-z_]+)`", REFERENCE.read_text()))
    assert known <= documented
