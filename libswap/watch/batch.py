"""Which settled files are deployed together, and which still wait for others; pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from libswap.watch import manifest, signature
from libswap.watch.rule import Require, Rule


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are one deployment.

    Attributes:
        libraries: what is to be installed.
        manifest: the file that lists them; "" for none.
        signatures: signature files, each with the file that it is of.
        refusal: why they are not deployed; "" where nothing speaks against it yet.
    """

    libraries: tuple[str, ...]
    manifest: str = ""
    signatures: tuple[tuple[str, str], ...] = ()
    refusal: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every file of it."""
        listed = (*self.libraries, *filter(None, [self.manifest]), *(s for s, _ in self.signatures))
        return tuple(dict.fromkeys(listed))


@dataclass(frozen=True, slots=True)
class Sorted:
    """What to do now, and when to look again.

    Attributes:
        batches: in the order in which they settled.
        due: when the next wait for something missing ends.
    """

    batches: tuple[Batch, ...]
    due: float | None


@dataclass(slots=True)
class _Sorting:
    """One look at all files of a directory.

    Attributes:
        settled: since when each finished file has been so.
        present: all names, finished or not.
        listings: what each settled manifest lists; a text where it is none.
    """

    settled: Mapping[str, float]
    present: Collection[str]
    listings: Mapping[str, Mapping[str, str] | str]
    rule: Rule
    now: float
    due: list[float] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[float, Batch]]:
        claimed: set[str] = set()
        for name, listing in self.listings.items():
            claimed |= {name} if isinstance(listing, str) else {name, *listing}
            yield from self._of_manifest(name, listing)
        unread = any(
            name.endswith(manifest.SUFFIX) and name not in self.settled for name in self.present
        )
        for name in self.settled:
            base = base_of(name)
            if base is not None:
                if base not in self.present:
                    yield from self._after(name, f"there is no {base} that it could sign")
            elif name not in claimed and not unread:
                yield from self._single(name)

    def _of_manifest(
        self, name: str, listing: Mapping[str, str] | str
    ) -> Iterator[tuple[float, Batch]]:
        signatures = self._signatures(name)
        if isinstance(listing, str):
            yield self.settled[name], Batch((), name, signatures, listing)
            return
        libraries = tuple(n for n in listing if n in self.settled)
        missing = sorted(n for n in listing if n not in self.settled)
        members = [*signatures, *(s for n in libraries for s in self._signatures(n))]
        if self.rule.trust.require is not Require.NOTHING and not signatures:
            missing.append(f"a signature of {name}")
        newest = max(self.settled[n] for n in (name, *libraries, *(s for s, _ in members)))
        batch = Batch(libraries, name, tuple(members))
        if not missing:
            yield newest, batch
        elif self._is_over(newest):
            said = f"not here after {self.rule.gather:g} seconds: {', '.join(missing)}"
            yield newest, Batch(libraries, name, tuple(members), said)

    def _single(self, name: str) -> Iterator[tuple[float, Batch]]:
        signatures = self._signatures(name)
        match self.rule.trust.require:
            case Require.MANIFEST:
                yield from self._after(name, "no manifest lists it")
            case Require.SIGNATURE if not signatures:
                yield from self._after(name, "it has no signature")
            case _:
                newest = max(self.settled[n] for n in (name, *(s for s, _ in signatures)))
                yield newest, Batch((name,), signatures=signatures)

    def _after(self, name: str, refusal: str) -> Iterator[tuple[float, Batch]]:
        since = self.settled[name]
        if self._is_over(since):
            libraries = () if base_of(name) is not None else (name,)
            signatures = self._signatures(name) or ((name, ""),) * (not libraries)
            text = f"{refusal}, after {self.rule.gather:g} seconds"
            yield since, Batch(libraries, "", signatures, text)

    def _is_over(self, since: float) -> bool:
        if self.now >= since + self.rule.gather:
            return True
        self.due.append(since + self.rule.gather)
        return False

    def _signatures(self, name: str) -> tuple[tuple[str, str], ...]:
        found = (name + suffix for suffix in signature.SUFFIXES)
        return tuple((each, name) for each in found if each in self.settled)


def sort(
    settled: Mapping[str, float],
    present: Collection[str],
    listings: Mapping[str, Mapping[str, str] | str],
    rule: Rule,
    now: float,
) -> Sorted:
    """What to do with the files of a directory.

    Args:
        settled: since when each finished file has been so.
        present: all names, finished or not.
        listings: what each settled manifest lists; where it is none, why.
        rule: of the directory.
        now: on the same clock as `settled`.
    """
    sorting = _Sorting(settled, present, listings, rule, now)
    found = sorted(sorting.batches(), key=lambda each: (each[0], each[1].names))
    return Sorted(tuple(batch for _, batch in found), min(sorting.due, default=None))


def base_of(name: str) -> str | None:
    """The file that a signature file's name says it is of; None where it is no such name."""
    for suffix in signature.SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    return None
