"""Replace single functions of running processes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from libswap.api.libraries import AnyPath
from libswap.operations import patch_apply, patch_build, patch_revert, patch_show, patch_status
from libswap.operations.patch_build import Built
from libswap.operations.patch_entries import Options
from libswap.operations.patch_show import Shown
from libswap.operations.patch_status import Listed
from libswap.patch.link import Wishes


def build_patch(
    sources: Sequence[AnyPath],
    target: AnyPath,
    output: AnyPath,
    *,
    description: str = "",
    replace: Mapping[str, str] | None = None,
    use: Mapping[str, str] | None = None,
    libraries: Sequence[AnyPath] = (),
    debug_file: AnyPath | None = None,
    cflags: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
) -> Built:
    """Link compiled code against a program or library into a patch file.

    Args:
        sources: objects (.o), or C or C++ files to compile.
        target: the program or library, not stripped.
        output: the patch file.
        description: what the patch is for.
        replace: OLD (or OLD@file.c) by NEW; by default what both define under one name.
        use: what a name in the patch stands for, where it could be several: name@file.c.
        libraries: where to find what the target itself never uses.
        debug_file: the target's symbols; by default found by build id or link.
        cflags: more words for the compiler.
        force: build it in spite of risks.
        dry_run: link, and write nothing.

    Raises:
        LibswapError: it cannot be built, or would break its target; no file was written.
    """
    wishes = Wishes(description, dict(replace or {}), dict(use or {}), force)
    request = patch_build.Request(
        tuple(map(Path, sources)),
        Path(target),
        Path(output),
        wishes,
        tuple(cflags),
        None if debug_file is None else Path(debug_file),
        tuple(map(Path, libraries)),
        dry_run,
    )
    return patch_build.build(request)


def show_patch(patch: AnyPath) -> Shown:
    """Check a patch file, and what it does.

    Args:
        patch: the patch file.

    Raises:
        LibswapError: it is damaged or is none (InvalidPatch), or cannot be read.
    """
    return patch_show.show(Path(patch))


def apply_patch(
    patch: AnyPath,
    *,
    pids: Sequence[int] = (),
    program: AnyPath | None = None,
    options: Options | None = None,
) -> patch_apply.Report:
    """Change running processes: at once, without a restart, and so that it can be taken back.

    Args:
        patch: the patch file.
        pids: these processes.
        program: the processes that run this file; with neither, all that run the patch's target.
        options: how; `dry_run` only looks.

    Raises:
        LibswapError: the file is damaged.
    """
    return patch_apply.apply(
        Path(patch),
        options or Options(),
        pids=pids,
        program=None if program is None else Path(program),
    )


def revert_patch(
    pids: Sequence[int], *, patch_id: str = "", options: Options | None = None
) -> patch_revert.Report:
    """Give functions back what they were before a patch.

    Args:
        pids: the processes.
        patch_id: an id or a checksum; "" for the last patch of each process.
        options: how; `dry_run` only looks.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    return patch_revert.revert(pids, patch_id, options or Options())


def list_patches(pids: Sequence[int] = (), *, everything: bool = False) -> Listed:
    """The patches in force.

    Args:
        pids: these processes; none for all that carry a record.
        everything: patches that were taken back, and what is unfinished, too.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    return patch_status.status(pids, active=not everything)


def verify_patches(pids: Sequence[int] = ()) -> Listed:
    """Compare the patches in memory with what was applied: `damage` of each process.

    Args:
        pids: these processes; none for all that carry a record.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    return patch_status.status(pids, verify=True, active=True)
