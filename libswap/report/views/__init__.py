"""One module per command: its result as rich renderables."""
