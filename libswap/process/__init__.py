"""Frozen facts about one process."""
