"""Deploys what appears in a directory."""
