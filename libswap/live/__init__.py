"""Move a running process onto new code, or leave it as it was."""
