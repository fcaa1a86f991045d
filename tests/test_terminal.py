"""Aligned tables of untrusted text."""

from trunkline import terminal

ROWS = [("name", "count"), ("a", "1,000"), ("bb\n\x1b[2J", "7")]


def test_columns_are_aligned_and_cells_stay_in_their_line():
    assert terminal.table(ROWS) == ["name     count", "a        1,000", "bb \ufffd[2J  7"]


def test_numbers_are_aligned_at_their_right():
    assert terminal.table(ROWS, numbers=True)[1:] == ["a        1,000", "bb \ufffd[2J      7"]
