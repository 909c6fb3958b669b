"""What signals are called (signal(7))."""

import signal


def name_of(number: int) -> str:
    """The name of a signal, such as "SIGSEGV"; of the real-time ones only the ends have one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
