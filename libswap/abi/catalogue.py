"""Every rule with its id, its severity and what a finding of it means."""

from typing import Final

from libswap.abi.finding import Rule, Severity

_BAD: Final = Severity.INCOMPATIBLE
_WARN: Final = Severity.WARNING
_NOTE: Final = Severity.NOTE

# The file as a whole
MACHINE: Final = Rule(
    "machine", _BAD, "no process can load both; nothing else was compared"
)  # fmt: skip
NOT_SHARED: Final = Rule(
    "file-type", _BAD, "the dynamic linker loads only shared objects; nothing else was compared"
)
PROGRAM: Final = Rule(
    "program",
    _BAD,
    "the dynamic linker refuses to load a program as a library; nothing else was compared",
)
OS_ABI: Final = Rule(
    "os-abi", _BAD, "the dynamic linker checks these bytes and may refuse the file"
)
OS_ABI_GNU: Final = Rule(
    "os-abi-gnu", _NOTE, "unique symbols or IFUNC came or went; glibc loads both kinds"
)
MACHINE_FLAGS: Final = Rule(
    "machine-flags", _BAD, "e_flags name the calling convention; mixed ones corrupt arguments"
)
SONAME_CHANGED: Final = Rule(
    "soname-changed", _BAD,
    "programs ask for the old SONAME; its maker says by the new one that it is another interface",
)  # fmt: skip
SONAME_LOST: Final = Rule(
    "soname-lost", _WARN,
    "found by its file name only: ldconfig makes no link for it, new programs record the file name",
)  # fmt: skip
SONAME_GAINED: Final = Rule(
    "soname-gained", _WARN,
    "programs built from now on ask for the SONAME; a file or link of that name must exist",
)  # fmt: skip

# Symbols
SYMBOL_REMOVED: Final = Rule(
    "symbol-removed", _BAD,
    "whatever binds to it fails: at start, or lazily when it is first called",
)  # fmt: skip
PRIVATE_SYMBOL_REMOVED: Final = Rule(
    "private-symbol-removed", _WARN,
    "its version node calls it private; only libraries of the same source may use it",
)  # fmt: skip
SYMBOL_ADDED: Final = Rule(
    "symbol-added", _NOTE, "programs that use it will not run on the old one"
)
SYMBOL_VERSION_CHANGED: Final = Rule(
    "symbol-version-changed", _BAD,
    "it exists under other versions only; references to the old version find nothing",
)  # fmt: skip
SYMBOL_VERSION_LOST: Final = Rule(
    "symbol-version-lost", _WARN,
    "references to the version still bind, without any check that it is the same interface",
)  # fmt: skip
SYMBOL_VERSION_GAINED: Final = Rule(
    "symbol-version-gained", _NOTE, "unversioned references bind to the default version"
)
DEFAULT_VERSION_MOVED: Final = Rule(
    "default-version-moved", _NOTE,
    "existing programs keep the old version; dlsym(3) and programs built from now on get the new",
)  # fmt: skip
DEFAULT_VERSION_LOST: Final = Rule(
    "default-version-lost", _WARN,
    "existing programs still bind; dlsym(3), unversioned references and new builds do not",
)  # fmt: skip
SYMBOL_KIND: Final = Rule(
    "symbol-kind", _BAD, "code made for one kind is relocated for it and cannot use the other"
)
SYMBOL_KIND_UNKNOWN: Final = Rule(
    "symbol-kind-unknown", _WARN, "one of the two carries no kind (NOTYPE), as from assembler code"
)
IFUNC_GAINED: Final = Rule(
    "ifunc-gained", _WARN,
    "its resolver runs while programs are still being relocated, before any constructor",
)  # fmt: skip
IFUNC_LOST: Final = Rule("ifunc-lost", _NOTE, "the plain function is the same to its callers")
DATA_GREW: Final = Rule(
    "data-size-grew", _BAD,
    "a program that holds a copy has room for the old size only, and the library writes past it",
)  # fmt: skip
DATA_SHRANK: Final = Rule(
    "data-size-shrank", _WARN, "programs built against the old size read past its end"
)
TLS_SYMBOL_SIZE: Final = Rule(
    "tls-symbol-size", _BAD, "programs built against the old size read or write past the variable"
)
VTABLE_SIZE: Final = Rule(
    "vtable-size", _BAD,
    "virtual functions or bases were added or removed; derived classes and copies do not match",
)  # fmt: skip
TYPEINFO_SIZE: Final = Rule(
    "typeinfo-size", _BAD, "the base classes changed; casts and exceptions of old programs go wrong"
)
COPY_RELOCATION: Final = Rule(
    "copy-relocation", _BAD,
    "the program holds a copy of the old size, and it and the library both use that copy",
)  # fmt: skip
BINDING_UNIQUE: Final = Rule(
    "binding-unique", _WARN,
    "a unique symbol is one in the whole process and keeps its library loaded for ever",
)  # fmt: skip
BINDING: Final = Rule(
    "binding", _NOTE, "the dynamic linker treats weak and global definitions alike"
)
VISIBILITY: Final = Rule(
    "visibility", _WARN,
    "whether programs can replace or copy it changed; the library may use another definition",
)  # fmt: skip

# Version nodes
VERSION_REMOVED: Final = Rule(
    "version-removed", _BAD,
    "programs that want the node are refused at start: version not found",
)  # fmt: skip
PRIVATE_VERSION_REMOVED: Final = Rule(
    "private-version-removed", _WARN, "only libraries of the same source may want a private node"
)
VERSIONS_LOST: Final = Rule(
    "versions-lost", _WARN,
    "it defines no versions at all; programs start, with 'no version information available'",
)  # fmt: skip
VERSION_ADDED: Final = Rule(
    "version-added", _NOTE, "programs built against it will not start on the old one"
)

# Loading
TLS_STATIC: Final = Rule(
    "tls-static", _WARN,
    "it asks for static TLS, which is scarce after start: dlopen(3) of it can fail",
)  # fmt: skip
TLS_STATIC_GREW: Final = Rule(
    "tls-static-grew", _WARN, "more static TLS is asked for: dlopen(3) of it can fail"
)
TLS_SIZE: Final = Rule("tls-size", _NOTE, "each thread allocates another amount for it")
EXECUTABLE_STACK: Final = Rule(
    "executable-stack", _WARN,
    "every thread's stack becomes executable; SELinux, and dlopen(3) of glibc 2.41, refuse it",
)  # fmt: skip
TEXT_RELOCATIONS: Final = Rule(
    "text-relocations", _WARN, "its code is written to at start; SELinux and musl refuse that"
)
RELRO_LOST: Final = Rule("relro-lost", _WARN, "its relocated tables stay writable")
BIND_NOW_LOST: Final = Rule(
    "bind-now-lost", _WARN, "slots stay writable and missing symbols show only when they are called"
)
BIND_NOW_GAINED: Final = Rule(
    "bind-now-gained", _NOTE, "a symbol that is missing fails at start, not when it is called"
)
SYMBOLIC: Final = Rule(
    "symbolic", _WARN, "whether programs can interpose its functions (malloc, wrappers) changed"
)
NO_DELETE_GAINED: Final = Rule(
    "no-delete-gained", _WARN, "dlclose(3) no longer unloads it: a restart is needed to replace it"
)
NO_DELETE_LOST: Final = Rule(
    "no-delete-lost", _NOTE, "dlclose(3) can unload it; pointers into it may then dangle"
)
NO_OPEN: Final = Rule("no-open", _WARN, "dlopen(3) refuses it; only programs linked to it load it")
CET_LOST: Final = Rule(
    "cet-lost", _WARN,
    "loading it switches IBT or the shadow stack off for the whole process, or is refused",
)  # fmt: skip
ISA_RAISED: Final = Rule(
    "isa-level-raised", _WARN, "machines below that level of x86-64 refuse to load it"
)
ISA_MISSING: Final = Rule(
    "isa-level-missing",
    _BAD,
    "this machine's processor is below it; glibc refuses to load the file",
)

# What it needs
NEEDED_ADDED: Final = Rule("needed-added", _NOTE, "one more library is loaded with it")
NEEDED_REMOVED: Final = Rule(
    "needed-removed", _NOTE, "a program that leaned on it without asking for it no longer gets it"
)
NEEDED_NOT_FOUND: Final = Rule(
    "needed-not-found", _BAD, "the dynamic linker finds no such library: nothing starts with it"
)
NEEDED_UNREADABLE: Final = Rule(
    "needed-unreadable", _WARN, "it could not be read, so what it provides is not known"
)
VERSION_MISSING: Final = Rule(
    "version-missing", _BAD, "the library that it wants is too old here: version not found at start"
)
VERSION_UNCHECKED: Final = Rule(
    "version-unchecked",
    _WARN,
    "the library that is here carries no versions: bound without a check",
)
SYMBOL_UNRESOLVED: Final = Rule(
    "symbol-unresolved", _BAD, "nothing here provides it: undefined symbol, at start or when called"
)
SYMBOL_OF_PROGRAM: Final = Rule(
    "symbol-of-program", _WARN,
    "like others that the old library took, it must come from the program that loads this one",
)  # fmt: skip

# Types, by libabigail's abidiff
TYPE_INCOMPATIBLE: Final = Rule(
    "type-incompatible", _BAD, "abidiff calls the change incompatible"
)  # fmt: skip
TYPE_LAYOUT: Final = Rule(
    "type-layout", _BAD,
    "a type that callers share changed its size or layout, or a function its parameters",
)  # fmt: skip
TYPE_CHANGED: Final = Rule(
    "type-changed", _WARN, "a function or variable is declared differently; layouts seem the same"
)
