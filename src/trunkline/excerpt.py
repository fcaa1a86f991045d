"""Markdown cut to a length at a place that does not break what it renders."""

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_DETAILS = re.compile(r"<(/?)details\b", re.IGNORECASE)
# The second line of a table: without it the first is only text with bars.
_DELIMITERS = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)+\s*(:?-+:?)?\s*")


def fit(text: str, limit: int, notice: str) -> str:
    """``text`` as it is, or its first lines and ``notice``, in at most ``limit`` characters.

    The cut is outside every code fence and ``<details>``, and never between a table's first two lines.
    Where the text leaves no such place, it is cut at the end of a line and what is open is closed.
    """
    if len(text) <= limit:
        return text
    room = limit - len(notice)
    lines = text.split("\n")
    end, kept, inside = -1, "", ""
    fence, depth = "", 0
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        end += 1 + len(line)
        fence, depth = _open_after(line, fence, depth)
        closing = (f"\n{fence}" if fence else "") + "\n\n</details>" * depth
        if end + len(closing) > room:
            break
        if closing:
            inside = text[:end] + closing
        elif not _DELIMITERS.fullmatch(following):
            kept = text[:end]
    return (kept or inside or text[: max(room, 0)]).rstrip("\n") + notice


def _open_after(line: str, fence: str, depth: int) -> tuple[str, int]:
    """The fence that is open after a line, or an empty text, and how many ``<details>`` are."""
    found = _FENCE.match(line)
    if fence:
        closes = found is not None and found[1].startswith(fence) and not found[2].strip()
        return ("" if closes else fence), depth
    if found:
        return found[1], depth
    for tag in _DETAILS.finditer(line):
        depth = max(0, depth - 1) if tag[1] else depth + 1
    return "", depth
