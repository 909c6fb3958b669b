"""Links relocatable objects against a target into a function patch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libswap.elf.relocatable import Kind as Type
from libswap.elf.relocatable import Relocatable
from libswap.errors.patch import PatchUnlinkable
from libswap.patch import replace
from libswap.patch.arrangement import Needs, every_section, is_original, lay_out
from libswap.patch.findings import Finding, stop_at
from libswap.patch.layout import UNWIND, Chosen, choose
from libswap.patch.patch import (
    Field,
    Hooks,
    Memory,
    Original,
    Patch,
    Protection,
    Region,
    Replaced,
    Unwind,
)
from libswap.patch.relocate import Places
from libswap.patch.resolve import Discarded, InPatch, Names
from libswap.patch.target import Target
from libswap.patch.thunk import thunks


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an author says besides the code.

    Attributes:
        description: what the patch is for.
        replacements: target name -> name in the patch, see `replace.pairs`.
        aliases: name used by the patch -> target name it stands for.
        force: take the risks.
    """

    description: str = ""
    replacements: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    force: bool = False


def link(
    objects: Sequence[Relocatable],
    target: Target,
    wishes: Wishes,
    results: Mapping[str, frozenset[str]],
) -> Patch:
    """Make a patch.

    Args:
        objects: the new code.
        target: what it is for.
        wishes: what the author says.
        results: what debug information says of the results of functions, see `thunks`.

    Raises:
        SymbolsUnresolved: names are absent or ambiguous; all of them are said.
        NothingToReplace: no function of the objects is one of the target's.
        PatchUnlinkable: a relocation cannot be satisfied, or a section not be mapped.
        PatchRefused: a finding refuses, or is a risk that the author does not take.
    """
    linked = _Linked.of(objects, target, wishes, {})
    kept = thunks(target, linked.patch_so_far(), linked.pairs, results)
    if kept.entries:
        linked = _Linked.of((*objects, kept.code), target, wishes, kept.entries)
    patch = linked.patch(kept.findings)
    stop_at(patch.findings, target.image.name, force=wishes.force)
    return patch


@dataclass(frozen=True)
class _Linked:
    """Objects laid out and relocated.

    Attributes:
        entries: name of a new function -> name of the thunk that leads to it.
    """

    names: Names
    target: Target
    wishes: Wishes
    chosen: Chosen
    pairs: tuple[replace.Pair, ...]
    places: Places
    regions: tuple[Region, ...]
    unwind: Unwind | None
    entries: Mapping[str, str]

    @classmethod
    def of(
        cls,
        objects: Sequence[Relocatable],
        target: Target,
        wishes: Wishes,
        entries: Mapping[str, str],
    ) -> "_Linked":
        chosen = choose(objects)
        kept = frozenset(
            key for group in (*chosen.regions.values(), chosen.unwind) for key, _ in group
        )
        names = Names(objects, kept, target, wishes.aliases)
        pairs = replace.pairs(names, wishes.replacements)
        needs = Needs.of(names, chosen, pairs)
        names.check()
        places, regions, unwind = lay_out(chosen, needs, target)
        _relocate(names, chosen, places)
        places.fill_slots()
        places.fill_stubs()
        if places.problems:
            raise PatchUnlinkable(tuple(places.problems))
        return cls(names, target, wishes, chosen, pairs, places, regions, unwind, entries)

    def patch_so_far(self) -> Patch:
        """The patch without findings."""
        return self._patch(())

    def patch(self, more: Sequence[Finding]) -> Patch:
        """The patch with everything that is known about it."""
        found = replace.findings(self.names, self.target, self.pairs)
        return self._patch((*found, *more))

    def _patch(self, findings: tuple[Finding, ...]) -> Patch:
        places = self.places
        data = bytes(places.data)
        return Patch(
            description=self.wishes.description,
            sources=tuple(o.name for o in self.names.objects if o.name),
            pin=self.target.pin,
            size=len(data),
            regions=tuple(
                Region(r.protection, r.offset, r.size, _trimmed(data, r)) for r in self.regions
            ),
            references=tuple(places.references),
            fixups=tuple(sorted(places.fixups, key=lambda f: f.place)),
            replaced=tuple(self._replaced(pair) for pair in self.pairs),
            originals=tuple(
                Original(at, self._index_of(name)) for name, at in places.originals.items()
            ),
            hooks=self._hooks(),
            unwind=self.unwind,
            uses=tuple(self.names.uses),
            findings=findings,
            near=any(
                f.field in (Field.WORD32, Field.WORD32S)
                and f.reference == places.references.get(Memory())
                for f in places.fixups
            ),
        )

    def _replaced(self, pair: replace.Pair) -> Replaced:
        old = pair.old
        code = self.places.sections[pair.new.section] + pair.new.value
        thunk = self.names.definition(self.entries[pair.by]) if pair.by in self.entries else None
        entry = self.places.sections[thunk.section] + thunk.value if thunk else code
        return Replaced(
            name=old.symbol.name,
            unit=old.unit,
            vaddr=old.symbol.value,
            size=old.symbol.size,
            room=replace.room(self.target, old),
            first=replace.first_bytes(self.target, old),
            parts=replace.parts(self.target, old),
            by=pair.by,
            entry=entry,
            code=(code, pair.new.size),
        )

    def _index_of(self, name: str) -> int:
        return next(i for i, p in enumerate(self.pairs) if is_original(p, name))

    def _hooks(self) -> Hooks:
        found = {name: self._offset(name) for name in replace.HOOKS}
        return Hooks(self._constructors(), *(found[name] for name in replace.HOOKS))

    def _offset(self, name: str) -> int | None:
        definition = self.names.definition(name)
        return definition and self.places.sections[definition.section] + definition.value

    def _constructors(self) -> tuple[int, ...]:
        found = []
        for key, section in self.chosen.constructors:
            for relocation in sorted(section.relocations):
                meaning = self.names.meaning(key.object, relocation.symbol)
                if not isinstance(meaning, InPatch) or relocation.type != Type.R64:
                    raise PatchUnlinkable((f"{section.name} names what is no function of it",))
                found.append(self.places.value(meaning).addend + relocation.addend)
        return tuple(found)


def _relocate(names: Names, chosen: Chosen, places: Places) -> None:
    for key, section in every_section(chosen):
        start = places.sections[key]
        for relocation in section.relocations:
            meaning = names.meaning(key.object, relocation.symbol)
            name = names.label(key.object, relocation.symbol)
            if section.name == UNWIND and isinstance(meaning, Discarded):
                continue  # a start of 0 tells the unwinder that the function is gone
            places.relocate(start, relocation, meaning, name)


def _trimmed(data: bytes, region: Region) -> bytes:
    """The region's bytes; for data without the zeros that fill up its last page."""
    found = data[region.offset : region.offset + region.size]
    return found if region.protection is Protection.CODE else found.rstrip(b"\0")
