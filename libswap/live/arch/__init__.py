"""What differs between machines: registers, system calls, and the code that a thread borrows."""
