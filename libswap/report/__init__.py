"""Shows results and decides nothing."""
