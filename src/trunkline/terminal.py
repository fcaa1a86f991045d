"""Tables for a terminal: nothing in a cell may move the cursor, hide, or pretend to be something else."""

from collections.abc import Sequence

from trunkline.words import plain


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
