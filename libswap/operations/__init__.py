"""What a user can ask for, one module each; returns results and prints nothing."""
