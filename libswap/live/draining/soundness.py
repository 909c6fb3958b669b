"""What the rule of a function cannot say, for its parts, or it and others, do not go together."""

from collections.abc import Iterator

from libswap.live.draining.handles import (
    IN_REGISTERS,
    MOST_PLACES,
    RESULT,
    Description,
    Place,
    Rule,
    When,
)


def faults(rule: Rule) -> Iterator[tuple[bool, str]]:
    """Each with whether the rule has it."""
    by, gives, parts = rule.by, rule.gives, rule.parts
    yield any(p.argument == RESULT for p in by), "by cannot be the result, which is not there yet"
    yield rule.ends and len(by) != 1, "what ends an object has one place in by"
    yield rule.counted and not rule.ends, "counted belongs to ends"
    yield rule.borrowed and not by, "what is borrowed is given by an object, or taken"
    yield rule.borrowed and rule.ends, "what is borrowed is ended by nobody"
    yield rule.lent and not (rule.borrowed and gives), "lent belongs to what is borrowed and given"
    yield (
        rule.doubled and not _can_be_doubled(rule),
        "doubled wants handles in registers, at most one that is given, an end without conditions",
    )
    yield (
        rule.failure is not None and len(by) < 2,
        "failure is for functions in which objects meet: several places in by",
    )
    yield len(by) + len(gives) + len(parts) > MOST_PLACES, f"more than {MOST_PLACES} places"
    yield bool(parts) and (rule.borrowed or not gives), "parts belong to an object that it gives"
    yield (
        rule.only is not None and (rule.ends or not gives),
        "only belongs to what it gives, and nothing may end there",
    )
    yield (
        rule.undone != "" and not (rule.doubled and gives),
        "undone belongs to what is doubled and gives",
    )
    yield (
        not (by or gives or rule.doubled),
        "neither by nor gives; a function without handles is plain",
    )


def baseless(description: Description) -> Iterator[str]:
    """What rules say of other functions that is not so."""
    for name in sorted({rule.undone for _, rule in description.rules if rule.undone}):
        rule = description.rule_for(name)
        if rule is None or not (rule.ends and rule.doubled) or rule.by != (Place(1),):
            yield f"{name} undoes, but is no doubled function that ends its arg1"


def _can_be_doubled(rule: Rule) -> bool:
    plain = all(p.argument <= IN_REGISTERS and not p.offsets for p in rule.by)
    ends = not rule.ends or (rule.when is When.ALWAYS and not rule.counted and not rule.gives)
    return plain and ends and len(rule.gives) <= 1 and not rule.borrowed and not rule.parts
