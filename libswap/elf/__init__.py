"""Frozen facts about ELF files and images; the only importer of pyelftools."""
