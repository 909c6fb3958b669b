"""What the references of a patch are in a process: asked of its modules, and of itself."""

from dataclasses import dataclass

from libswap.errors.patch import SymbolNotLoaded
from libswap.live import scope
from libswap.live.insertion import Visit
from libswap.live.module import Module
from libswap.live.subject import Subject
from libswap.operations.patch_entries import record_of
from libswap.patch.patch import (
    Import,
    Indirect,
    Kind,
    Memory,
    Patch,
    Reference,
    TlsBlock,
    TlsModule,
)


@dataclass(frozen=True, slots=True)
class Values:
    """They are looked up as the dynamic linker would for the target of the patch.

    Attributes:
        visit: a thread of the process, for what only it can answer.
    """

    subject: Subject
    module: Module
    patch: Patch
    visit: Visit

    def all(self, memory: int) -> list[int]:
        """One for each reference; `memory` is where the patch lies.

        Raises:
            SymbolNotLoaded: no module of the process has one.
            PatchCallFailed: a resolver crashed or hung.
        """
        return [self._value(r, memory) for r in self.patch.references]

    def _value(self, reference: Reference, memory: int) -> int:
        match reference:
            case Memory():
                return memory
            case Import():
                return self._import(reference)
            case Indirect(vaddr=vaddr):
                return self.visit.call(self.module.base + vaddr, "a resolver of the target")
            case TlsModule():
                return self._tls_module()
            case TlsBlock():
                found = self._find("__tls_get_addr", "")
                return self.visit.tls_block(self._tls_module(), found.address)
            case _:
                return self.module.base

    def _tls_module(self) -> int:
        if self.patch.pin.kind is not Kind.LIBRARY:
            return 1  # the main program's, in glibc and musl
        return self.visit.tls_module(self.module.link.address)

    def _import(self, wanted: Import) -> int:
        try:
            found = self._find(wanted.name, wanted.version)
        except SymbolNotLoaded:
            if wanted.weak:
                return 0
            raise
        if found.indirect:
            return self.visit.call(found.address, f"the resolver of {wanted.name}")
        return found.address

    def _find(self, name: str, version: str) -> scope.Definition:
        modules, record = self.subject.modules, record_of(self.subject)
        found = None
        if self.module.link.address:
            found = scope.lookup(modules, record, self.module, name, version)
        if found is None:
            label = f"{name}@{version}" if version else name
            raise SymbolNotLoaded(self.subject.identity.pid, label)
        return found

    def unwinder(self) -> tuple[int, int]:
        """__register_frame and __deregister_frame of the process, 0 where it has none."""
        if not self.module.link.address:
            names = {s.name: s.value for s in self.module.facts.statics}
            found = [names.get(n, 0) for n in ("__register_frame", "__deregister_frame")]
            base = self.module.base
            return tuple(base + value if value else 0 for value in found)  # type: ignore[return-value]
        places = []
        for name in ("__register_frame", "__deregister_frame"):
            try:
                places.append(self._find(name, "").address)
            except SymbolNotLoaded:
                places.append(0)
        return places[0], places[1]
