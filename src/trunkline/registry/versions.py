"""Semantic versions as the registry writes them."""

import re
from functools import total_ordering
from typing import Literal

from trunkline.errors import Error

_NUMBER = r"(?:0|[1-9][0-9]*)"
_LABEL = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
SEMVER = (
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_LABEL}(?:\.{_LABEL})*))?(?:\+(?P<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)
_VERSION = re.compile(f"v{SEMVER}", re.ASCII)
Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = ("major", "minor", "patch")


@total_ordering
class Version:
    """A semantic version, written with a ``v``; ordered as semver.org 2.0.0 says (§11), build metadata last.

    Args:
        text: such as ``v1.2.3`` or ``v1.0.0-rc.1``.

    Raises:
        Error: it is none.
    """

    __slots__ = ("_key", "_text")

    def __init__(self, text: str) -> None:
        match = _VERSION.fullmatch(text)
        if match is None:
            raise Error(f"{text!r} is not a version", "write it like v1.2.3")
        core = tuple(int(match[part]) for part in PARTS)
        # A release is newer than its pre-releases; numeric labels are older than words.
        labels = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in (match["pre"] or "").split(".") if p)
        self._key = (core, not labels, labels, match["build"] or "")
        self._text = text

    def bumped(self, part: Part) -> "Version":
        """The next final version: of a pre-release, the version that it leads to."""
        (major, minor, patch), final, *_ = self._key
        if part == "major":
            return Version(f"v{major + 1}.0.0")
        if part == "minor":
            return Version(f"v{major}.{minor + 1}.0")
        return Version(f"v{major}.{minor}.{patch + 1 if final else patch}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: "Version") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Version({self._text!r})"


def is_version(text: str) -> bool:
    """Whether a text is written like a version."""
    return _VERSION.fullmatch(text) is not None
