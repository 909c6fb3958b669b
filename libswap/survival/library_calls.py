"""Which arguments of functions of the C library are pointers to bytes, strings or locks."""

from typing import Final

_FIRST: Final = (0,)
_BOTH: Final = (0, 1)
_KNOWN: Final = {
    **dict.fromkeys(
        ("memcpy", "memmove", "mempcpy", "memcmp", "bcmp", "strcmp", "strncmp", "strcasecmp",
         "strncasecmp", "strcoll", "strcpy", "strncpy", "stpcpy", "stpncpy", "strcat", "strncat",
         "strstr", "strspn", "strcspn", "strpbrk"), _BOTH,
    ),
    **dict.fromkeys(
        ("memset", "bzero", "explicit_bzero", "memchr", "memrchr", "rawmemchr", "strlen", "strnlen",
         "strchr", "strrchr", "strchrnul", "strdup", "strndup", "snprintf", "vsnprintf",
         "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_trylock",
         "pthread_mutex_unlock", "pthread_mutex_destroy", "pthread_cond_init", "pthread_cond_wait",
         "pthread_cond_timedwait", "pthread_cond_signal", "pthread_cond_broadcast",
         "pthread_cond_destroy", "pthread_rwlock_init", "pthread_rwlock_rdlock",
         "pthread_rwlock_wrlock", "pthread_rwlock_unlock", "pthread_rwlock_destroy"), _FIRST,
    ),
}  # fmt: skip


def takes_pointers(name: str) -> tuple[int, ...]:
    """The numbers of such arguments; none for a function that is not known.

    Those that check sizes (_FORTIFY_SOURCE, such as __memcpy_chk) take the same ones first.
    """
    plain = name.split("@", 1)[0]
    return _KNOWN.get(plain.removeprefix("__").removesuffix("_chk"), ())
