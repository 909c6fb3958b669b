import re
from pathlib import Path

from libswap.abi import catalogue
from libswap.abi.finding import Rule

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"


def test_every_rule_is_documented_with_its_severity() -> None:
    text, _, _ = REFERENCE.read_text().partition("## Live objects")  # of another catalogue
    documented = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", text, re.MULTILINE)
    rules = [(r.id, r.severity.value) for r in vars(catalogue).values() if isinstance(r, Rule)]
    assert sorted(documented) == sorted(rules)
