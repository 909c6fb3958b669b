"""Whether anybody has a file open for writing, asked by a lease that is given back at once.

F_SETLEASE of fcntl(2) gives a read lease only while no process has the file open for writing, or
maps it so. Only the owner of the file or CAP_LEASE may ask; network file systems mostly refuse.
"""

import errno
import fcntl
import signal


def is_written(descriptor: int) -> bool | None:
    """Whether somebody on this machine could still write to a file through what he has open.

    Args:
        descriptor: of the file, open to read only.

    Returns:
        None where it cannot be known.
    """
    # Who opens it for writing in this very moment waits, and we get a signal: by default SIGIO,
    # which would end us; SIGURG is ignored unless somebody asks for it (signal(7)).
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
