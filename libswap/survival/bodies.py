"""The functions of one file: their steps, and what these name."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from libswap.survival.code import Code, Function
from libswap.survival.forms import Form, Forms
from libswap.survival.step import Step

Named: TypeAlias = Function | str | int
"""What a step refers to: a function of the file, a name of elsewhere, an address."""


@dataclass(eq=False)
class Body:
    """One function.

    Attributes:
        form: its code but for the places that it names.
        places: these, relative to where it begins.
    """

    function: Function
    form: Form
    places: tuple[int, ...]

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All that it does, one after the other."""
        return self.form.steps(self.function.start, self.places)

    def exactly(self, other: "Body") -> bool:
        """Whether it is the same code but for the addresses in it."""
        one, its = self.form, other.form
        return one is its or (one.outline == its.outline and one.exact == its.exact)

    def alike(self, other: "Body") -> bool:
        """Whether it is the same code but for addresses, displacements and immediates."""
        one, its = self.form, other.form
        return one is its or (one.count == its.count and one.shape == its.shape)


@dataclass(slots=True)
class Bodies:
    """Each looked at when it is asked for."""

    code: Code
    forms: Forms
    _known: dict[int, Body] = field(default_factory=dict)
    _named: dict[int, dict[int, Named]] = field(default_factory=dict)

    def of(self, function: Function) -> Body:
        """One of them."""
        found = self._known.get(function.start)
        if found is None:
            form, places = self.forms.of(self.code.text(function))
            found = self._known[function.start] = Body(function, form, places)
        return found

    def named(self, body: Body) -> dict[int, Named]:
        """What it names outside of itself, by the number of the step that does something."""
        start = body.function.start
        found = self._named.get(start)
        if found is None:
            code = self.code
            found = self._named[start] = {}
            for (number, _, _, step, near), place in zip(
                body.form.references, body.places, strict=True
            ):
                at = start + place
                if near:
                    goal = code.called(at) or code.holding(at)
                    found[number] = at if goal is None else goal
                else:
                    through = code.through(at) if step.width else None
                    found[number] = through or code.by_start.get(at) or at
        return found
