"""Replace files so that a crash leaves the old or the new, never less."""
