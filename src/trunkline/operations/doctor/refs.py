"""Which refs a pattern of GitHub's rules and environments is for."""

import re
from collections.abc import Iterable

ALL = "~ALL"
_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
# As fnmatch with FNM_PATHNAME: a star stays between two slashes, two stars and a slash do not.
_MEANINGS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def matches(ref: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is for a ref, such as ``refs/tags/model@v1.0.0``."""
    return any(pattern == ALL or _expression(pattern).fullmatch(ref) for pattern in patterns)


def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_MEANINGS.get(part, re.escape(part)) for part in _PARTS.findall(pattern)))
