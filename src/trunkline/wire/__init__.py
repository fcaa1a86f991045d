"""Formats on the wire, for whatever answers HTTP: bodies read strictly, answers written as the real servers do."""
