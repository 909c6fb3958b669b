"""A patch file, as it was built or as it is read."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.patch_build import Built
from libswap.operations.patch_show import Shown
from libswap.patch.findings import Finding, Severity
from libswap.patch.patch import Patch
from libswap.report.text import printable
from libswap.report.views.changes import size

_MOST_USES = 20


def render(result: Built | Shown) -> Iterable[RenderableType]:
    """What it is for, what it replaces, what it uses, and what to know about it."""
    patch = result.patch
    yield Text.assemble(
        (printable(str(result.path)), "bold"),
        f": patch {result.identity[:16]}, {size(result.size)}",
    )
    if patch.description:
        yield Text(f"  {printable(patch.description)}")
    yield Text(f"  for {_pin(patch)}")
    for one in patch.replaced:
        parts = f" and {len(one.parts)} part(s) split off" if one.parts else ""
        yield Text.assemble(
            "  replaces ",
            (printable(one.label), "bold"),
            f" at {one.vaddr:#x} ({one.size} bytes{parts}) by {printable(one.by)}"
            f" ({one.code[1]} bytes)",
        )
    yield from _uses(patch)
    yield Text(f"  needs {size(patch.size)} of memory, in {len(patch.regions)} parts", "dim")
    yield from _hooks(patch)
    for finding in patch.findings:
        yield from _finding(finding)
    if isinstance(result, Built) and not result.written:
        yield Text("Nothing was written.", "dim")
    elif isinstance(result, Built):
        yield Text(
            f"Apply it with: libswap patch apply {printable(str(result.path))} --pid PID", "dim"
        )


def _pin(patch: Patch) -> str:
    pin = patch.pin
    which = f"build id {pin.build_id}" if pin.build_id else f"sha256 {pin.sha256}"
    return f"the {pin.kind.value} {printable(pin.name)}, {printable(which)}"


def _uses(patch: Patch) -> Iterator[RenderableType]:
    names = [f"{u.name}@{u.unit}" if u.unit else u.name for u in patch.uses]
    if names:
        more = f" and {len(names) - _MOST_USES} more" if len(names) > _MOST_USES else ""
        yield Text(f"  uses {printable(', '.join(names[:_MOST_USES]))}{more}")


def _hooks(patch: Patch) -> Iterator[RenderableType]:
    hooks = patch.hooks
    found = [
        name
        for name, there in (
            (f"{len(hooks.constructors)} constructor(s)", hooks.constructors),
            ("libswap_pre_apply", hooks.pre_apply is not None),
            ("libswap_post_apply", hooks.post_apply is not None),
            ("libswap_pre_revert", hooks.pre_revert is not None),
        )
        if there
    ]
    if found:
        yield Text(f"  calls {', '.join(found)} in the target")


def _finding(finding: Finding) -> Iterator[RenderableType]:
    style = "dim" if finding.severity is Severity.NOTE else "yellow"
    text = f"{finding.word}: {finding.subject}: {finding.detail}"
    yield Text.assemble("  ! ", printable(text), style=style)
    if finding.instead:
        yield Text(f"    {printable(finding.instead)}", "dim")
