"""Which functions of the target a patch replaces, and what stands in the way of that."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from libswap.elf.instructions import JUMP_SIZE, beginning, jumps_into_beginning, padding
from libswap.elf.symbols import Symbol, SymbolType
from libswap.errors.patch import NothingToReplace
from libswap.patch.findings import Finding, Severity
from libswap.patch.layout import PAGE
from libswap.patch.patch import FIRST
from libswap.patch.resolve import ORIGINAL, InPatch, Names
from libswap.patch.target import Target, TargetSymbol

HOOKS = ("libswap_pre_apply", "libswap_post_apply", "libswap_pre_revert")
_CLONES = (".constprop.", ".isra.", ".part.")


class Pair(NamedTuple):
    """A function of the target and the patch's own that takes its place."""

    old: TargetSymbol
    by: str
    new: InPatch


def pairs(names: Names, replacements: Mapping[str, str]) -> tuple[Pair, ...]:
    """What is replaced by what, ascending by the old address.

    Args:
        names: the patch's names.
        replacements: target name ("name" or "name@file.c") -> name in the patch; besides them
            every function that both define under one name, but for inline functions and templates
            (COMDAT), of which every module has copies.

    Raises:
        NothingToReplace: there is no pair.
    """
    found = {p.old.symbol.value: p for p in _same_names(names, set(replacements.values()))}
    for old, new in replacements.items():
        definition, theirs = names.definition(new), _one(names, old)
        if definition is None:
            names.problems[f"{new} is not a function of the patch"] = None
        elif theirs is not None:
            found[theirs.symbol.value] = Pair(theirs, new, definition)
    if not found and not names.problems:
        mine = tuple(dict.fromkeys(s.name for _, s in names.functions()))
        clones = (n for n in names.target.names if n.partition(".")[0] in mine and "." in n)
        raise NothingToReplace(names.target.image.name, mine, tuple(clones))
    return tuple(found[value] for value in sorted(found))


def findings(names: Names, target: Target, found: tuple[Pair, ...]) -> Iterator[Finding]:
    """What an author should know about the functions that are replaced."""
    replaced = {p.old.symbol.name for p in found}
    for pair in found:
        yield from _entry(target, pair.old)
        yield from _names_of_the_same_place(target, pair.old, replaced)
        yield from _clones(target, pair.old, replaced)
    yield from _own_variables(names, target)
    yield from _inline_functions(names, target, replaced)


def room(target: Target, old: TargetSymbol) -> int:
    """Bytes from an entry that no other code uses: the function and the padding behind it."""
    end = old.symbol.value + old.symbol.size
    after = target.next_function(old.symbol.value)
    fill = 16 if after is None else min(max(after - end, 0), 16)
    return old.symbol.size + padding(target.bytes_at(end, fill), end)


def first_bytes(target: Target, old: TargetSymbol) -> bytes:
    """What an entry must still look like when the patch is applied."""
    return target.bytes_at(old.symbol.value, min(room(target, old), FIRST))


def parts(target: Target, old: TargetSymbol) -> tuple[tuple[int, int], ...]:
    """(address, size) of the code that the compiler split off from a function as unlikely."""
    every = target.named(f"{old.symbol.name}.cold")
    return tuple((s.symbol.value, s.symbol.size) for s in every if _is_made_of(target, s, old))


def _is_made_of(target: Target, part: TargetSymbol, old: TargetSymbol) -> bool:
    """Whether code is of this function, and not of a static one of the same name."""
    if old.unit:
        return part.unit == old.unit
    return all(s.unit != part.unit for s in target.named(old.symbol.name) if s.unit)


def _same_names(names: Names, taken: set[str]) -> Iterator[Pair]:
    for number, symbol in names.functions():
        ours = symbol.name.startswith(ORIGINAL) or symbol.name in HOOKS
        if ours or symbol.name in taken or not names.target.find(symbol.name):
            continue
        section = names.objects[number].sections[symbol.section]
        old = None if section.group else _one(names, symbol.name, number)
        if old is not None:
            definition = names.place_of(number, symbol)
            yield Pair(old, symbol.name, definition)


def _one(names: Names, wanted: str, number: int | None = None) -> TargetSymbol | None:
    """The function that a name means: in doubt that of the same source file; else it is said."""
    every = {s.symbol.value: s for s in names.target.find(wanted) if s.symbol.is_function}
    chosen = list(every.values())
    if len(chosen) > 1 and number is not None:
        source = names.objects[number].source
        chosen = [s for s in chosen if s.unit and s.unit == source] or chosen
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        labels = ", ".join(s.label for s in chosen)
        names.problems[f"{wanted} can be {labels}: say --replace {chosen[0].label}=..."] = None
    else:
        names.problems[f"{wanted} is not a function of it"] = None
    return None


def _entry(target: Target, old: TargetSymbol) -> Iterator[Finding]:
    symbol, label = old.symbol, old.label
    if symbol.type == SymbolType.GNU_IFUNC:
        detail = "it only chooses among functions, once, when the program starts"
        yield Finding(
            Severity.REFUSE, "indirect-function", label, detail, "replace the chosen ones"
        )
        return
    if not target.executable(symbol.value):
        yield Finding(Severity.REFUSE, "no-code", label, "its address is not in the file's code")
        return
    free = room(target, old)
    if free < JUMP_SIZE:
        detail = f"it has {free} bytes, and other code right behind them: no room for a jump"
        advice = "replace the functions that call it"
        yield Finding(Severity.REFUSE, "entry-too-short", label, detail, advice)
        return
    if symbol.value // PAGE != (symbol.value + JUMP_SIZE - 1) // PAGE:
        detail = (
            f"its first {JUMP_SIZE} bytes cross a page: a libswap that is killed while it writes"
            " them could leave half a jump"
        )
        advice = "replace the functions that call it"
        yield Finding(Severity.RISK, "entry-crosses-page", label, detail, advice)
    code = target.bytes_at(symbol.value, max(symbol.size, free))
    if beginning(code, symbol.value) is None:
        yield Finding(
            Severity.REFUSE, "entry-undecodable", label, "its first bytes are no instructions"
        )
    elif jumps_into_beginning(code, symbol.value):
        detail = (
            "it jumps back into its own first bytes; it is only changed while no thread is in it,"
            " and its original cannot be called"
        )
        yield Finding(Severity.NOTE, "jump-into-entry", label, detail)


def _names_of_the_same_place(
    target: Target, old: TargetSymbol, replaced: set[str]
) -> Iterator[Finding]:
    others = sorted(
        {
            s.label
            for s in target.functions_at(old.symbol.value)
            if s.symbol.name.partition("@")[0] not in replaced
        }
    )
    if others:
        detail = f"the same code is also {', '.join(others[:6])}: they are replaced with it"
        yield Finding(Severity.NOTE, "shared-code", old.label, detail)


def _clones(target: Target, old: TargetSymbol, replaced: set[str]) -> Iterator[Finding]:
    """Copies that gcc made for particular callers, which do not call the function itself."""
    name = old.symbol.name
    found = sorted(
        s.label
        for kind in _CLONES
        for number in range(16)
        for s in target.named(f"{name}{kind}{number}")
        if s.symbol.name not in replaced and _is_made_of(target, s, old)
    )
    if found:
        detail = f"the compiler made {', '.join(found)} of it, which its callers go on using"
        advice = f"replace those too (--replace {found[0].partition('@')[0]}=NAME) or their callers"
        yield Finding(Severity.RISK, "cloned", old.label, detail, advice)


def _own_variables(names: Names, target: Target) -> Iterator[Finding]:
    seen = set()
    for _, symbol in names.variables():
        theirs = [s for s in target.named(symbol.name) if _is_variable(s.symbol)]
        if theirs and symbol.name not in seen and not names.is_shared(symbol.name):
            seen.add(symbol.name)
            detail = "the patch defines it anew: it does not see the target's"
            yield Finding(
                Severity.RISK, "own-variable", symbol.name, detail, "declare it extern in the patch"
            )


def _is_variable(symbol: Symbol) -> bool:
    return symbol.type in (SymbolType.OBJECT, SymbolType.TLS)


def _inline_functions(names: Names, target: Target, replaced: set[str]) -> Iterator[Finding]:
    for number, symbol in names.functions():
        group = names.objects[number].sections[symbol.section].group
        if group and symbol.name not in replaced and target.named(symbol.name):
            detail = "an inline function or template: the patch uses its own copy, the target its"
            advice = f"--replace {symbol.name}={symbol.name} replaces the target's too"
            yield Finding(Severity.NOTE, "inline-function", symbol.name, detail, advice)
