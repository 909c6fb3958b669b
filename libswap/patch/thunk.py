"""Code between an old entry and a new function that keeps what old callers rely on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from libswap.elf.footprints import Footprints
from libswap.elf.instructions import decoder
from libswap.elf.registers import Registers, caller_saved
from libswap.elf.relocatable import Relocatable
from libswap.elf.stack_arguments import stack_arguments
from libswap.patch.callers import Callers, Reliance
from libswap.patch.findings import Finding, Severity
from libswap.patch.patch import Patch, Replaced
from libswap.patch.replace import Pair
from libswap.patch.target import Target
from libswap.patch.thunk_code import ThunkObject, thunk_code


@dataclass(frozen=True, slots=True)
class Thunks:
    """All of a patch.

    Attributes:
        code: an object with them.
        entries: name of a new function -> name of its thunk.
        findings: what they cannot keep.
    """

    code: Relocatable
    entries: Mapping[str, str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Inside:
    """The code of a patch, for `Footprints`."""

    data: bytes
    places: frozenset[int]

    @classmethod
    def of(cls, patch: Patch) -> "_Inside":
        return cls(patch.regions[0].data, frozenset(f.place for f in patch.fixups))

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        return self.data[vaddr : vaddr + size] if vaddr >= 0 else b""

    def is_open(self, vaddr: int, size: int) -> bool:
        return any(at in self.places for at in range(vaddr, vaddr + size))

    def around(self, vaddr: int) -> tuple[int, int] | None:  # noqa: ARG002  see registers.Code
        """A jump through a register may be a call: then everything may change."""
        return None


def thunks(
    target: Target, patch: Patch, pairs: Sequence[Pair], results: Mapping[str, frozenset[str]]
) -> Thunks:
    """The thunks that a patch needs; most need none.

    Args:
        target: with the old functions and their callers.
        patch: linked without thunks.
        pairs: what it replaces, in the order of `patch.replaced`.
        results: name of a new function -> which of rdx, xmm0 and xmm1 its result can be in.
    """
    callers, inside, made = Callers(target), _Inside.of(patch), ThunkObject()
    footprints = Footprints(inside)
    findings: list[Finding] = []
    for pair, replaced in zip(pairs, patch.replaced, strict=True):
        left_alone = caller_saved() - callers.written_by(replaced.vaddr)
        if not left_alone:
            continue  # it calls what the compiler did not know: nobody relies on anything
        its = footprints.of(replaced.code[0])
        changed = left_alone if its is None else left_alone & its.written
        relied = callers.rely_on(pair.old, changed) if changed else Reliance(frozenset())
        relied, unclear = _without_results(relied, results.get(replaced.by))
        aligns = (its is None or its.aligned) and callers.may_misalign(pair.old)
        if relied.registers or aligns:
            size = 32 if relied.wide else 16
            words = stack_arguments(inside.bytes_at(*replaced.code), replaced.code[0])
            made.add(replaced.by, thunk_code(relied.registers, size, words))
        findings += _notes(replaced, relied, unclear, aligns=aligns)
    return Thunks(made.object(), made.entries, tuple(findings))


def _without_results(
    relied: Reliance, results: frozenset[str] | None
) -> tuple[Reliance, Registers]:
    """What is to be kept, and of that what may just as well be the new function's result.

    A function that gives back what it was given (a double, the second half of a structure) leaves
    the register of its result alone. What it does not return in rax shows: it does not write it.
    """
    r = decoder().Register
    halves = {"rdx": r.RDX, "xmm0": r.ZMM0, "xmm1": r.ZMM1}
    if results is None:
        return relied, relied.read & {r.ZMM0}
    asked = relied.registers & {halves[name] for name in results}
    if len(results) == len(halves):  # a structure: in which of them, its members tell
        return relied, asked
    return replace(relied, registers=relied.registers - asked), frozenset()


def _notes(
    replaced: Replaced, relied: Reliance, unclear: Registers, *, aligns: bool
) -> Iterator[Finding]:
    label = replaced.label
    if unclear:
        names = ", ".join(map(_name, sorted(unclear)))
        detail = (
            f"callers read {names} behind a call, which the old function leaves alone: as its"
            " result, or as a value of their own; it would be kept as it was"
        )
        advice = "compile the patch with -g, so that the type of the result is known"
        yield Finding(Severity.RISK, "result-unclear", label, detail, advice)
    if relied.registers:
        names = ", ".join(map(_name, sorted(relied.registers)))
        detail = (
            f"callers keep values in registers that the old function left alone ({names}); a call"
            " goes through a few instructions more, which preserve them"
        )
        yield Finding(Severity.NOTE, "registers-kept", label, detail)
    if aligns:
        detail = (
            "callers need not align the stack for the old function, and the new one needs it; a"
            " call goes through a few instructions more, which align it"
        )
        yield Finding(Severity.NOTE, "stack-aligned", label, detail)
    if relied.wider:
        detail = "callers use 512-bit or mask registers, of which only 128 bits would be preserved"
        advice = "replace the callers too"
        yield Finding(Severity.RISK, "wide-registers-kept", label, detail, advice)


def _name(register: int) -> str:
    iced = decoder()
    names: dict[int, str] = {v: k for k, v in vars(iced.Register).items() if isinstance(v, int)}
    return names[register].lower().replace("zmm", "xmm")
