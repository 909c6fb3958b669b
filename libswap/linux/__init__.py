"""The only package that asks the kernel: files, /proc, ptrace, memory, running programs."""
