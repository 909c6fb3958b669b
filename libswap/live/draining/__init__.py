"""Draining: old objects stay with the old code and new ones go to the new, until none is old."""
