"""What speaks for files that were taken: signatures, or a signed manifest; on staged bytes."""

import os
from collections.abc import Mapping

from libswap.errors.watch import DropRefused
from libswap.linux.files import Directory
from libswap.watch import manifest, signature
from libswap.watch.batch import Batch
from libswap.watch.intake import Staged
from libswap.watch.rule import Require, Rule


def verify(batch: Batch, staged: Mapping[str, Staged], staging: Directory, rule: Rule) -> None:
    """Make sure that all that the rule requires is there and right.

    Args:
        batch: which files belong together.
        staged: each of them, taken.
        staging: the private directory that holds them.
        rule: of their directory.

    Raises:
        DropRefused: something is not.
    """
    if batch.manifest:
        _verify_listed(batch, staged, staging, rule)
    required = {
        Require.NOTHING: (),
        Require.SIGNATURE: batch.libraries if not batch.manifest else (batch.manifest,),
        Require.MANIFEST: (batch.manifest,) if batch.manifest else batch.libraries,
    }[rule.trust.require]
    for name in required:
        if rule.trust.require is Require.MANIFEST and not batch.manifest:
            raise DropRefused(name, "no signed manifest lists it")
        _verify_signed(name, batch, staging, rule)


def _verify_listed(
    batch: Batch, staged: Mapping[str, Staged], staging: Directory, rule: Rule
) -> None:
    data = _read(staging, batch.manifest, manifest.MOST)
    listed = manifest.parse(batch.manifest, data, rule.limits.files)
    if set(listed) != set(batch.libraries):
        raise DropRefused(batch.manifest, "it changed while its files were being gathered")
    for name, digest in listed.items():
        if staged[name].drop.sha256 != digest:
            raise DropRefused(name, f"it is not the file that {batch.manifest} lists")


def _verify_signed(name: str, batch: Batch, staging: Directory, rule: Rule) -> None:
    found = [each for each, of in batch.signatures if of == name]
    usable = [each for each in found if _has_keys(each, rule)]
    if not usable:
        raise DropRefused(name, "it has no signature of a kind that there are keys for")
    descriptor = staging.open(name)
    try:
        for each in usable:
            data = _read(staging, each, signature.MOST)
            kind = each.removeprefix(name)
            signature.verify(name, kind, data, descriptor, trust=rule.trust, work=staging.path)
    finally:
        os.close(descriptor)


def _has_keys(name: str, rule: Rule) -> bool:
    minisign = name.endswith(signature.MINISIGN)
    return bool(rule.trust.minisign_keys if minisign else rule.trust.ssh_keys)


def _read(directory: Directory, name: str, most: int) -> bytes:
    descriptor = directory.open(name)
    try:
        data = os.pread(descriptor, most + 1, 0)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise DropRefused(name, f"it is longer than {most:,} bytes")
    return data
