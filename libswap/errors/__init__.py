"""Everything the world can do to us, as one tree of errors.

Each class builds its message from typed fields and carries its own exit code and a hint: what it
means, why, and what to type next. Only the command line turns an error into words on a terminal.
Our own mistakes are `AssertionError` or `RuntimeError` and never stand here.
"""
