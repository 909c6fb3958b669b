import os
from pathlib import Path

import pytest

from libswap.install import packages
from libswap.install.packages import Owner, _literal, _spellings, parse_dpkg
from libswap.linux import command
from libswap.linux.command import Completed


def test_both_spellings_of_a_merged_usr_are_asked_for() -> None:
    assert _spellings("/usr/lib/x/libz.so") == ("/usr/lib/x/libz.so", "/lib/x/libz.so")
    assert _spellings("/opt/lib/libz.so") == ("/opt/lib/libz.so",)
    assert _spellings("/usr/local/lib/libz.so") == ("/usr/local/lib/libz.so",)


def test_a_name_is_no_pattern() -> None:
    assert _literal("/lib/[a]*?\\") == "/lib/\\[a\\]\\*\\?\\\\"


def test_the_owner_is_found_among_diversions_and_other_files() -> None:
    spelled = {"/lib/libz.so.1": "/usr/lib/libz.so.1"}
    text = (
        "diversion by local from: /lib/libz.so.1\n"
        "zlib1g:amd64, zlib1g:i386: /lib/libz.so.1\n"
        "other: /lib/libz.so.1.2\n"
    )
    assert parse_dpkg(text, spelled) == (
        Owner("/usr/lib/libz.so.1", "zlib1g:amd64, zlib1g:i386", "dpkg", "/lib/libz.so.1"),
    )


def test_the_diverted_name_is_none_that_ldconfig_takes_for_a_library() -> None:
    owner = Owner("/usr/lib/lib z.so.1", "z", "dpkg", "/lib/lib z.so.1")
    assert "--divert '/lib/.lib z.so.1.distrib' --add '/lib/lib z.so.1'" in owner.advice


def test_the_same_question_is_asked_again_once_the_packages_have_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run(argv: list[str], **_: object) -> Completed:
        asked.append(argv)
        return Completed(tuple(argv), 0, b"libx: /usr/lib/libx.so\n", b"", cut=False)

    status = tmp_path / "status"
    status.write_text("one")
    monkeypatch.setattr(packages, "_DPKG_FILES", (str(status),))
    monkeypatch.setattr(command, "find", lambda _: "/usr/bin/dpkg-query")
    monkeypatch.setattr(command, "run", run)
    for _ in range(2):
        (owner,) = packages.owners(["/usr/lib/libx.so"])
        assert owner.package == "libx"
    assert len(asked) == 1
    os.utime(status, ns=(1, 1))
    packages.owners(["/usr/lib/libx.so"])
    assert len(asked) == 2


def test_what_the_one_database_does_not_know_the_other_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {"dpkg-query": b"libx: /usr/lib/libx.so\n", "rpm": b"liby\n"}

    def run(argv: list[str], **_: object) -> Completed:
        assert argv[0] == "dpkg-query" or argv[-1] == "/opt/liby.so"
        return Completed(tuple(argv), 0, answers[argv[0]], b"", cut=False)

    monkeypatch.setattr(packages, "_DPKG_FILES", ())
    monkeypatch.setattr(packages, "_dpkg", packages._dpkg.__wrapped__)
    monkeypatch.setattr(command, "find", "/usr/bin/{}".format)
    monkeypatch.setattr(command, "run", run)
    found = packages.owners(["/usr/lib/libx.so", "/opt/liby.so"])
    assert [(owner.package, owner.manager) for owner in found] == [
        ("libx", "dpkg"),
        ("liby", "rpm"),
    ]
    assert found[1].advice == "dnf versionlock add liby"
