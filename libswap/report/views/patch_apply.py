"""What became of each process to which a patch was applied, or from which one was taken back."""

from collections.abc import Iterable
from typing import assert_never

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations import patch_apply, patch_insert, patch_revert
from libswap.operations.moves import Refused, Skipped
from libswap.report.text import printable

_Outcome = patch_apply.Outcome | patch_revert.Reverted | patch_revert.WouldRevert


def render(result: patch_apply.Report | patch_revert.Report) -> Iterable[RenderableType]:
    """A row for each process."""
    if not result.processes:
        yield Text("No running process is concerned.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pid", "process", "outcome"):
        table.add_column(heading, overflow="fold")
    for row in result.processes:
        table.add_row(str(row.pid), printable(row.name), _outcome(row.outcome))
    yield table


def _outcome(outcome: _Outcome) -> Text:  # noqa: C901  one case for each outcome
    match outcome:
        case patch_insert.Applied():
            text = Text("patched", "green")
            text.append(_stop(outcome), "default")
            for id_ in outcome.replaces:
                text.append(f"\n  in the place of {printable(id_)}", "default")
            for remark in outcome.remarks:
                text.append(f"\n  ! {printable(remark)}", "yellow")
        case patch_revert.Reverted():
            text = Text("taken back", "green")
            text.append(_stop(outcome), "default")
        case patch_apply.Planned(module=module, functions=functions, replaces=replaces):
            text = Text(f"would change {printable(', '.join(functions))} in {printable(module)}")
            for id_ in replaces:
                text.append(f"\n  in the place of {printable(id_)}")
        case patch_revert.WouldRevert(id=id_, functions=functions):
            text = Text(f"would take back {printable(id_)}: {printable(', '.join(functions))}")
        case Skipped(reason=reason):
            text = Text(f"nothing to do: {printable(reason)}", "dim")
        case Refused(reason=reason, instead=instead):
            text = Text(f"left as it is: {printable(reason)}", "red")
            if instead:
                text.append(f"\n  {printable(instead)}", "default")
        case _:
            assert_never(outcome)
    return text


def _stop(outcome: patch_insert.Applied | patch_revert.Reverted) -> str:
    threads = "1 thread" if outcome.threads == 1 else f"{outcome.threads} threads"
    return (
        f" in {outcome.stopped_for * 1000:.2f} ms ({threads},"
        f" attempt {outcome.attempts}); id {outcome.id}"
    )
