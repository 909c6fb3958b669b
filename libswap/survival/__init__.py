"""Do objects that old code made survive in new code: evidence from two files, and the verdict."""
