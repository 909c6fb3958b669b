"""Who uses a library, and which service each user belongs to."""
