"""The demo as one table: what was done, and what the process did then."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations.demo.result import Act, Answer, Demonstration, Scene
from libswap.report.text import printable


def render(result: Demonstration) -> Iterable[RenderableType]:
    """A row for each scene and each act."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("to a library in use", "process", "code", "its maps say"):
        table.add_column(head)
    for scene in result.scenes:
        steps = Text(printable(" · ".join(scene.steps)), "dim")
        name = Text(f"{scene.name}\n", "bold").append_text(steps)
        table.add_row(name, _process(scene), _answers(scene), _mapped(scene))
    table.add_section()
    for act in result.acts:
        name = Text.assemble((printable(act.command), "bold"), "\n", (printable(act.said), "dim"))
        table.add_row(name, Text("lives", "green"), _replies(act), _names(act))
    yield table
    yield Text(f"Compiled by {printable(result.compiler)}; every cell was seen in a process.")


def _process(scene: Scene) -> Text:
    return Text("lives", "green") if scene.died_of is None else Text(scene.died_of, "bold red")


def _answers(scene: Scene) -> Text:
    said = [_version(answer) for answer in scene.answers]
    text = Text(" → ".join([*said, *(["none"] if scene.died_of else [])]))
    return text.append("\nsame handle", "dim") if scene.same_handle else text


def _mapped(scene: Scene) -> Text:
    if scene.died_of is not None:
        return Text("-")
    return Text.assemble(printable(scene.mapped), (f"\nscan: {scene.scanned}", "dim"))


def _version(answer: Answer) -> str:
    if answer.code == answer.data:
        return str(answer.code)
    return f"{answer.code}, data {answer.data}"


def _names(act: Act) -> str:
    return "\n".join(map(printable, act.mapped))


def _replies(act: Act) -> Text:
    text = Text(f"{act.before.code} → {act.after.code}")
    return text.append(f"\ncall {act.after.count}, new {act.fresh.code}", "dim")
