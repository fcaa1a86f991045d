"""Writes the starter project's synthetic support messages; see data/README.md."""
