"""Findings of both kinds, of comparisons and of live swaps, folded by severity and rule."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeVar

from libswap.abi import finding as abi
from libswap.live import findings as live
from libswap.operations.moves import Moved, Planned, ProcessResult
from libswap.report.page.model import Found, Rule, Severity, Tone
from libswap.report.text import printable

_MOST: Final = 200
_ABI: Final[Mapping[abi.Severity, Tone]] = {
    abi.Severity.INCOMPATIBLE: Tone.BAD,
    abi.Severity.WARNING: Tone.WARN,
    abi.Severity.NOTE: Tone.PLAIN,
}
_LIVE: Final[Mapping[live.Severity, Tone]] = {
    live.Severity.REFUSE: Tone.BAD,
    live.Severity.RISK: Tone.WARN,
    live.Severity.NOTE: Tone.PLAIN,
}


def of_comparison(findings: Iterable[abi.Finding]) -> tuple[Severity, ...]:
    """The findings of a comparison, the worst first."""
    by_rule: dict[tuple[abi.Severity, str, str], list[Found]] = {}
    for one in findings:
        change = f"{printable(one.old) or 'nothing'} → {printable(one.new) or 'nothing'}"
        change = change if one.old or one.new else ""
        felt = tuple(
            f"{printable(i.process)} (PID {i.pid}): {printable(i.module)}" for i in one.importers
        )
        key = (one.severity, one.rule, one.meaning)
        by_rule.setdefault(key, []).append(Found(printable(one.subject), change, felt[:_MOST]))
    return _severities(_ABI, by_rule)


def of_processes(results: Iterable[ProcessResult]) -> tuple[Severity, ...]:
    """The findings of the plans for processes, the worst first."""
    by_word: dict[tuple[live.Severity, str, str], list[Found]] = {}
    for result in results:
        if isinstance(result.outcome, Planned | Moved):
            who = f"{printable(result.name)} (PID {result.pid})"
            for one in result.outcome.outlook.findings:
                text = printable(one.detail)
                instead = f" Instead: {printable(one.instead)}." if one.instead else ""
                key = (one.severity, one.word, "")
                by_word.setdefault(key, []).append(
                    Found(printable(one.subject), text + instead, (who,))
                )
    return _severities(_LIVE, by_word)


S = TypeVar("S", abi.Severity, live.Severity)


def _severities(
    tones: Mapping[S, Tone], by_rule: Mapping[tuple[S, str, str], Sequence[Found]]
) -> tuple[Severity, ...]:
    order = list(tones)
    keys = sorted(by_rule, key=lambda key: (order.index(key[0]), key[1]))
    return tuple(
        Severity(
            severity.value,
            tones[severity],
            sum(len(by_rule[key]) for key in same),
            tuple(_rule(key[1], key[2], by_rule[key]) for key in same),
        )
        for severity, same in ((s, list(k)) for s, k in groupby(keys, lambda key: key[0]))
    )


def _rule(word: str, meaning: str, found: Sequence[Found]) -> Rule:
    """Those that somebody feels first."""
    felt_first = sorted(found, key=lambda one: not one.felt)
    shown = tuple(felt_first[:_MOST])
    return Rule(printable(word), printable(meaning), shown, len(found) - len(shown))
