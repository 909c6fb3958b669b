"""The demo as one table: what was done, and what the process did then."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations.demo.result import Answer, Demonstration, Scene
from libswap.report.text import printable


def render(result: Demonstration) -> Iterable[RenderableType]:
    """A row for each scene."""
    table = Table(box=box.SIMPLE_HEAD, show_lines=False, pad_edge=False)
    table.add_column("to a library in use", ratio=1)
    table.add_column("process")
    table.add_column("code")
    table.add_column("maps say")
    for scene in result.scenes:
        table.add_row(_done(scene), _process(scene), _answers(scene), _mapped(scene))
    yield table
    yield Text(f"Compiled by {printable(result.compiler)}; every cell was seen in a process.")


def _done(scene: Scene) -> Text:
    steps = printable(" · ".join(scene.steps))
    return Text.assemble((scene.name, "bold"), "\n", (steps, "dim"))


def _process(scene: Scene) -> Text:
    return Text("lives", "green") if scene.died_of is None else Text(scene.died_of, "bold red")


def _answers(scene: Scene) -> Text:
    said = [_version(answer) for answer in scene.answers]
    text = Text(" → ".join([*said, *(["none"] if scene.died_of else [])]))
    return text.append("\nsame handle", "dim") if scene.same_handle else text


def _version(answer: Answer) -> str:
    if answer.code == answer.data:
        return str(answer.code)
    return f"{answer.code}, data {answer.data}"


def _mapped(scene: Scene) -> Text:
    return Text(printable(scene.mapped) or "-")
