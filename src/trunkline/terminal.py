"""Text and tables for a terminal: nothing in them may move the cursor, hide, or pretend to be something else."""

import re
import unicodedata
from collections.abc import Sequence

_JOINERS = "\u200c\u200d"  # of emoji and of some scripts: wanted, unlike other invisible characters


def plain(text: object) -> str:
    """One line of visible characters: no control codes, no hidden or direction-changing characters."""
    shown = (
        "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") and character not in _JOINERS
        else character
        for character in re.sub(r"\s+", " ", str(text)).strip()
    )
    return "".join(shown)


def cut(text: object, characters: int) -> str:
    """`plain` text, cut with an ellipsis to at most this many characters."""
    line = plain(text)
    return line if len(line) <= characters else line[: characters - 1] + "…"


def table(rows: Sequence[Sequence[str]], numbers: bool = False) -> list[str]:
    """Rows of one length as aligned lines, the first row the head; `plain` in every cell.

    Args:
        numbers: all columns but the first are aligned at their right.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *rest in cells:
        placed = [
            cell.rjust(width) if numbers else cell.ljust(width) for cell, width in zip(rest, widths[1:], strict=True)
        ]
        lines.append("  ".join([first.ljust(widths[0]), *placed]).rstrip())
    return lines
